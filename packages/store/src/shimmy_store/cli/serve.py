"""``shimmy-store serve``: the store on uvicorn."""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys

import uvicorn

from shimmy_store.errors import LedgerError, SettingsError
from shimmy_store.server.app import create_app
from shimmy_store.server.logs import start_logging
from shimmy_store.settings import Settings, read_settings
from shimmy_store.wiring import open_shop

_PORT = 8400
# More at once than this are told 503 and to come back: it keeps those that are let in fast.
_AT_ONCE = 400
_DRAIN_SECONDS = 10


def add_arguments(_name: str, parser: argparse.ArgumentParser) -> None:
    """Where to listen, and whom to believe."""
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1")
    parser.add_argument("--port", type=int, default=_PORT, help=f"default {_PORT}")
    parser.add_argument(
        "--proxies",
        default="127.0.0.1",
        metavar="ADDRESSES",
        help="whose X-Forwarded-For is believed (default 127.0.0.1)",
    )


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; requests under way are finished."""
    settings = read_settings()
    listener = _listen(args.host, args.port)
    asyncio.run(_check(settings))
    start_logging()
    config = uvicorn.Config(
        create_app(settings, open_shop),
        log_config=None,
        # Uvicorn's own lines hold addresses with tokens in them; the app writes its own.
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=args.proxies,
        limit_concurrency=_AT_ONCE,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        ws="none",
    )
    # Uvicorn sends itself the signal again once it has stopped in good order: that is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    told = f"{settings.mode} mode, {settings.url}, on {args.host}:{args.port}"
    print(f"shimmy-store: {told}", file=sys.stderr, flush=True)
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
    return 0


def _listen(host: str, port: int) -> socket.socket:
    """Before anything starts, so that a port in use is one sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, since asyncio switches off Nagle's delay only where the protocol is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise SettingsError(
            "not-served",
            f"The store cannot listen on {host}:{port}: {error}.",
            hint="Stop what listens there, or choose another --port.",
        ) from error
    return listener


async def _check(settings: Settings) -> None:
    """The ledger, before anything listens: its errors are for the operator, in words."""
    async with open_shop(settings) as shop:
        try:
            await shop.ledger.take_stock()
        except LedgerError as error:
            # Then it serves, unwell, so that it can be restored over HTTP.
            if error.code != "ledger-half-restored":
                raise
            print(f"shimmy-store: {error.message} {error.hint}", file=sys.stderr)
