"""``shimmy-sandbox licences``: a licence server on loopback, and a shop's hands on it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from shimmy_sandbox.cli.plans_file import PlansError, read_plans
from shimmy_sandbox.cli.serving import CommandError, failed, until_stopped
from shimmy_sandbox.keygen.server import serve_keygen
from shimmy_sandbox.keygen.shop import (
    Address,
    Counter,
    ShopError,
    renew,
    sell,
    stock_shop,
)
from shimmy_sandbox.simulation.state_file import StateError

_PORT = 7410
_URL = f"http://127.0.0.1:{_PORT}"
_WARNING = """\
shimmy-sandbox: THIS LICENCE SERVER IS A SANDBOX, NOT FOR PRODUCTION.
shimmy-sandbox: Its signing key and its admin token are published; its licences are worth nothing.
shimmy-sandbox: It listens on 127.0.0.1 only. Stop it with Ctrl-C."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One subcommand for each thing a shop or a tester does."""
    actions = parser.add_subparsers(dest="action", required=True)
    serving = actions.add_parser("serve", help="serve until Ctrl-C; prints the URL")
    serving.add_argument("--state", type=Path, required=True, help="SQLite file, made if missing")
    serving.add_argument("--plans", type=Path, required=True, help="contracts/plans.json")
    serving.add_argument("--port", type=int, default=_PORT, help=f"default {_PORT}; 0: any free")
    selling = _remote(actions, "sell", "sell a licence; prints its key")
    selling.add_argument("plan")
    selling.add_argument("--expires-in-days", type=float, metavar="N", help="from sandbox time now")
    selling.add_argument("--json", action="store_true", help="print the whole licence")
    for name, what in _KEYED.items():
        _remote(actions, name, what).add_argument("key")
    clock = _remote(actions, "clock", "show or move the sandbox's clock")
    moves = clock.add_mutually_exclusive_group()
    moves.add_argument("--advance", type=float, metavar="SECONDS")
    moves.add_argument("--reset", action="store_true", help="back to real time")
    fault = _remote(actions, "fault", "make the next requests go wrong")
    fault.add_argument("kind", help="status, status-after, no-request, no-reply, late or slow")
    fault.add_argument("--path", default="", help="only paths that contain this")
    fault.add_argument("--method", default="", help="only this method")
    fault.add_argument("--times", type=int, default=1, help="so many requests; -1: all")
    fault.add_argument("--status", type=int, default=503)
    fault.add_argument("--seconds", type=float, default=0.0, help="how long to wait")
    fault.add_argument("--retry-after", type=int, metavar="SECONDS")


_KEYED = {
    "suspend": "make a licence invalid until it is reinstated",
    "reinstate": "undo a suspension",
    "renew": "one more month for a monthly licence",
    "revoke": "delete a licence for good",
}


def _remote(actions: Any, name: str, what: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=what)
    parser.add_argument("--url", default=_URL, help=f"where the server is (default {_URL})")
    return parser


def run(args: argparse.Namespace) -> int:
    """Do one action; 1 with one line on stderr when it cannot be done."""
    try:
        _ACTIONS[args.action](args)
    except (CommandError, PlansError, ShopError, StateError) as problem:
        return failed(str(problem))
    except httpx.TransportError:
        start = "shimmy-sandbox licences serve --state FILE --plans contracts/plans.json"
        return failed(f"no licence server answers at {args.url}: start one with `{start}`")
    except OverflowError:
        return failed("that moment is too far away: give a smaller number")
    except (httpx.HTTPError, httpx.InvalidURL, LookupError, ValueError) as problem:
        return failed(f"{args.url} did not answer as a licence server does: {problem}")
    return 0


def _serve(args: argparse.Namespace) -> None:
    plans = read_plans(args.plans).plans
    print(_WARNING, file=sys.stderr, flush=True)
    with (
        until_stopped(f"port {args.port}", "choose another --port"),
        serve_keygen(args.state, args.port) as server,
    ):
        stock_shop(server, plans)
        print(server.url, flush=True)
        server.wait()


def _sell(args: argparse.Namespace) -> None:
    server, expiry = Address(args.url), None
    if args.expires_in_days is not None:
        with Counter(server) as counter:
            expiry = counter.now() + timedelta(days=args.expires_in_days)
    sold = sell(server, args.plan, expiry=expiry)
    print(json.dumps(sold, indent=2) if args.json else sold["attributes"]["key"])


def _renew(args: argparse.Namespace) -> None:
    print(renew(Address(args.url), args.key)["attributes"]["expiry"])


def _act(args: argparse.Namespace) -> None:
    method = "DELETE" if args.action == "revoke" else "POST"
    with Counter(Address(args.url)) as counter:
        counter.ask(method, f"licenses/{quote(args.key, safe='')}/actions/{args.action}")


def _clock(args: argparse.Namespace) -> None:
    with Counter(Address(args.url)) as counter:
        if args.reset:
            counter.control("clock", {"reset": True})
        if args.advance is not None:
            counter.control("clock", {"advance_seconds": args.advance})
        print(counter.now().isoformat())


def _fault(args: argparse.Namespace) -> None:
    names = ("kind", "path", "method", "times", "status", "seconds", "retry_after")
    with Counter(Address(args.url)) as counter:
        counter.control("faults", {name: getattr(args, name) for name in names})


_ACTIONS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "serve": _serve,
    "sell": _sell,
    "renew": _renew,
    "suspend": _act,
    "reinstate": _act,
    "revoke": _act,
    "clock": _clock,
    "fault": _fault,
}
