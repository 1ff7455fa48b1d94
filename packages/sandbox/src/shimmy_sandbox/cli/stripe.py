"""``shimmy-sandbox stripe``: Stripe on loopback, a customer who pays, and time that passes."""

from __future__ import annotations

import argparse
import html
import json
import re
import ssl
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from shimmy_sandbox.cli.serving import CommandError, failed, until_stopped
from shimmy_sandbox.simulation.state_file import StateError
from shimmy_sandbox.stripe_api.server import serve_stripe

_PORT = 7420
_URL = f"http://127.0.0.1:{_PORT}"
_WARNING = """\
shimmy-sandbox: THIS STRIPE IS A SANDBOX, NOT FOR PRODUCTION. No money moves; use test cards.
shimmy-sandbox: Its key is published: {key}
shimmy-sandbox: It listens on 127.0.0.1 only. Stop it with Ctrl-C."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each thing a customer or a tester does."""
    actions = parser.add_subparsers(dest="action", required=True)
    serving = actions.add_parser("serve", help="serve until Ctrl-C; prints the URL")
    serving.add_argument("--state", type=Path, required=True, help="SQLite file, made if missing")
    serving.add_argument("--port", type=int, default=_PORT, help=f"default {_PORT}; 0: any free")
    paying = actions.add_parser("pay", help="pay a checkout page; prints the success URL")
    paying.add_argument("session_url")
    paying.add_argument("--card", default="4242424242424242", help="a test card")
    paying.add_argument("--email", default="customer@example.com")
    paying.add_argument("--name", default="Test Customer")
    paying.add_argument("--method", default="card", choices=("card", "alipay", "wechat_pay"))
    paying.add_argument("--outcome", default="succeed", choices=("succeed", "fail"),
                        help="of 3D Secure, or of alipay and wechat_pay an hour later")  # fmt: skip
    _remote(actions, "tick", "do what is due now; prints how much that was")
    clock = _remote(actions, "clock", "show or move the sandbox's clock, and do what is due")
    moves = clock.add_mutually_exclusive_group()
    moves.add_argument("--advance", type=float, metavar="SECONDS")
    moves.add_argument("--reset", action="store_true", help="back to real time")
    deliveries = _remote(actions, "deliveries", "list webhook deliveries, or steer them")
    steering = deliveries.add_mutually_exclusive_group()
    steering.add_argument("--hold", action="store_true", help="deliver nothing until released")
    steering.add_argument("--release", choices=("in-order", "reversed"))
    steering.add_argument("--duplicate", type=int, metavar="N", help="send each N times more")
    steering.add_argument("--resend", metavar="EVENT", help="deliver an event again")


def _remote(actions: Any, name: str, what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=what)
    parser.add_argument("--url", default=_URL, help=f"where the server is (default {_URL})")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do one action; 1 with one line on stderr when it cannot be done."""
    address = getattr(args, "url", getattr(args, "session_url", _URL))
    try:
        _ACTIONS[args.action](args)
    except (CommandError, StateError) as problem:
        return failed(str(problem))
    except httpx.TransportError:
        start = "shimmy-sandbox stripe serve --state FILE"
        return failed(f"nothing answers at {address}: start a sandbox with `{start}`")
    except (httpx.HTTPError, httpx.InvalidURL, LookupError, ValueError) as problem:
        return failed(f"{address} did not answer as a sandbox does: {problem}")
    return 0


def _serve(args: argparse.Namespace) -> None:
    with (
        until_stopped(f"port {args.port}", "choose another --port"),
        serve_stripe(args.state, args.port) as server,
    ):
        print(_WARNING.format(key=server.api_key), file=sys.stderr, flush=True)
        print(server.url, flush=True)
        server.wait()


def _client() -> httpx.Client:
    # Loopback speaks no TLS; without this, httpx reads every root certificate first.
    return httpx.Client(trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), timeout=30)


def _pay(args: argparse.Namespace) -> None:
    if urlsplit(args.session_url).hostname not in _LOOPBACK:
        message = (
            "only a page of this sandbox can be paid: its address begins with http://127.0.0.1"
        )
        raise CommandError("checkout-elsewhere", message)
    form = {
        "email": args.email,
        "name": args.name,
        "payment_method": args.method,
        "card_number": args.card,
        "card_expiry": "12/34",
        "card_cvc": "123",
        "terms": "on",
        "async_outcome": args.outcome,
    }
    with _client() as client:
        reply = client.post(args.session_url, data=form)
        location = reply.headers.get("location", "")
        if location.endswith("/challenge"):
            answer = {"outcome": "complete" if args.outcome == "succeed" else "fail"}
            reply = client.post(urljoin(args.session_url, location), data=answer)
            location = reply.headers.get("location", "")
    if reply.status_code != 303:
        raise CommandError("checkout-unpaid", f"not paid: {_words(reply.text)}")
    print(location)


def _words(page: str) -> str:
    """What a page says went wrong."""
    said = re.search(r'role="alert">([^<]*)<', page) or re.search(r"</h1>\s*<p>([^<]*)<", page)
    return html.unescape(said[1]) if said else "the page does not say why"


def _control(args: argparse.Namespace, path: str, order: Any = None) -> Any:
    with _client() as client:
        url = f"{args.url}/_sim/{path}"
        reply = client.get(url) if order is None else client.post(url, json=order)
    answer = reply.json()
    if reply.status_code == 400:
        raise CommandError("steering-refused", f"refused: {answer['error']}")
    reply.raise_for_status()
    return answer


def _tick(args: argparse.Namespace) -> None:
    print(_control(args, "tick", {})["done"])


def _clock(args: argparse.Namespace) -> None:
    if args.reset:
        _control(args, "clock", {"reset": True})
    if args.advance is not None:
        _control(args, "clock", {"advance_seconds": args.advance})
        _control(args, "tick", {})
    print(_control(args, "clock")["now"])


def _deliveries(args: argparse.Namespace) -> None:
    order: dict[str, Any] = {"hold": True} if args.hold else {}
    for name in ("release", "duplicate", "resend"):
        if getattr(args, name) is not None:
            order[name] = getattr(args, name)
    listed = _control(args, "deliveries", order or None)["deliveries"]
    for one in listed:
        print(json.dumps({name: one[name] for name in ("event", "type", "state", "attempts")}))


_ACTIONS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "serve": _serve,
    "pay": _pay,
    "tick": _tick,
    "clock": _clock,
    "deliveries": _deliveries,
}
