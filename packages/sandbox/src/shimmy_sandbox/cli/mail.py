"""``shimmy-sandbox mail``: a mailbox on loopback, and a look into it."""

from __future__ import annotations

import argparse
import json
import ssl
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from shimmy_sandbox.cli.serving import CommandError, failed, until_stopped
from shimmy_sandbox.mailbox.identity import API_KEY, SMTP_PASSWORD, SMTP_USER
from shimmy_sandbox.mailbox.server import serve_mailbox

_PORT = 7430
_SMTP_PORT = 7431
_URL = f"http://127.0.0.1:{_PORT}"
_WARNING = f"""\
shimmy-sandbox: THIS MAILBOX IS A SANDBOX, NOT FOR PRODUCTION. No mail leaves it; none survives it.
shimmy-sandbox: Its key is published: {API_KEY}
shimmy-sandbox: So is its SMTP login: {SMTP_USER} with password {SMTP_PASSWORD}
shimmy-sandbox: It listens on 127.0.0.1 only. Stop it with Ctrl-C."""
_LOOK_SECONDS = 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand to serve, and two to look."""
    actions = parser.add_subparsers(dest="action", required=True)
    serving = actions.add_parser("serve", help="serve until Ctrl-C; prints the HTTP and SMTP URLs")
    serving.add_argument("--port", type=int, default=_PORT, help=f"default {_PORT}; 0: any free")
    serving.add_argument(
        "--smtp-port", type=int, default=_SMTP_PORT, help=f"default {_SMTP_PORT}; 0: any free"
    )
    serving.add_argument("--login-required", action="store_true", help="of SMTP senders")
    listing = _remote(actions, "list", "list the mail, oldest first")
    listing.add_argument("--json", action="store_true", help="print everything about it")
    reading = _remote(actions, "read", "print the text of the newest mail (HTML if it has no text)")
    reading.add_argument("--match", default="", metavar="TEXT", help="in its subject or bodies")
    reading.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="for one")


def _remote(actions: Any, name: str, what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=what)
    parser.add_argument("--to", default="", metavar="ADDRESS", help="only mail to this address")
    parser.add_argument("--url", default=_URL, help=f"where the server is (default {_URL})")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do one action; 1 with one line on stderr when it cannot be done."""
    try:
        _ACTIONS[args.action](args)
    except CommandError as problem:
        return failed(str(problem))
    except httpx.TransportError:
        start = "shimmy-sandbox mail serve"
        return failed(f"no mailbox answers at {args.url}: start one with `{start}`")
    except (httpx.HTTPError, httpx.InvalidURL, LookupError, TypeError, ValueError) as problem:
        return failed(f"{args.url} did not answer as a mailbox does: {problem}")
    return 0


def _serve(args: argparse.Namespace) -> None:
    print(_WARNING, file=sys.stderr, flush=True)
    required = args.login_required
    ports = f"port {args.port} or {args.smtp_port}"
    with (
        until_stopped(ports, "choose another --port and --smtp-port"),
        serve_mailbox(args.port, args.smtp_port, login_required=required) as server,
    ):
        print(server.url, server.smtp_url, sep="\n", flush=True)
        server.wait()


def _client(args: argparse.Namespace) -> httpx.Client:
    # Loopback speaks no TLS; without this, httpx reads every root certificate first.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.Client(base_url=args.url, trust_env=False, verify=context, timeout=30)


def _kept(client: httpx.Client, to: str) -> Sequence[Mapping[str, Any]]:
    """What is kept for ``to``, oldest first; empty is everybody."""
    reply = client.get("/_sim/messages", params={"to": to} if to else {})
    reply.raise_for_status()
    messages: Sequence[Mapping[str, Any]] = reply.json()
    return messages


def _list(args: argparse.Namespace) -> None:
    with _client(args) as client:
        messages = _kept(client, args.to)
    if args.json:
        print(json.dumps(messages, indent=2, ensure_ascii=False))
        return
    for one in messages:
        print(one["received"], one["door"], ", ".join(one["to"]), one["subject"], sep="\t")


def _read(args: argparse.Namespace) -> None:
    deadline = time.monotonic() + args.wait
    with _client(args) as client:
        while not (found := [one for one in _kept(client, args.to) if _says(one, args.match)]):
            # Written so that a wait that is no number ends at once.
            if not time.monotonic() < deadline:
                raise CommandError("mail-missing", _nothing(args))
            time.sleep(_LOOK_SECONDS)
    text, html = found[-1]["text"], found[-1]["html"]
    print((html or "" if text is None else text).removesuffix("\n"))


def _says(message: Mapping[str, Any], words: str) -> bool:
    return any(words in (message[part] or "") for part in ("subject", "text", "html"))


def _nothing(args: argparse.Namespace) -> str:
    whom = f" to {args.to}" if args.to else ""
    what = f" with {args.match!r} in it" if args.match else ""
    return f"no mail{whom}{what} has come: look with `shimmy-sandbox mail list`"


_ACTIONS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "serve": _serve,
    "list": _list,
    "read": _read,
}
