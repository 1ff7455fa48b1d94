"""``shimmy-store serve``: the store on uvicorn, in this process or in several workers."""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from dataclasses import replace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE

from shimmy_store.cli.supervising import Supervisor
from shimmy_store.errors import LedgerError, SettingsError
from shimmy_store.server.app import create_app
from shimmy_store.server.logs import start_logging
from shimmy_store.server.meter_slots import take_meter_slot
from shimmy_store.server.timed_heads import TimedHeads
from shimmy_store.settings import Settings, read_settings, share_meters, shared_meters
from shimmy_store.wiring import open_shop

_PORT = 8400
# More at once than this are told 503 and to come back: it keeps those that are let in fast.
_AT_ONCE = 400
# Connections that wait to be accepted; uvicorn's own number.
_WAITING = 2048
_DRAIN_SECONDS = 10
_MOST_WORKERS = 64
# A worker that says nothing for so long is ended; one that starts says nothing either.
_SILENT_SECONDS = 30
_LATER = 75


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
    parser.add_argument(
        "--workers",
        type=_workers,
        default=1,
        metavar="N",
        help="processes that serve and work (default 1); each has its own connections",
    )


def _workers(given: str) -> int:
    if not given.isdecimal() or not 1 <= int(given) <= _MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"1 to {_MOST_WORKERS}")
    return int(given)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM; requests under way are finished."""
    _leave_no_dumps()
    settings = read_settings()
    listener = _bind(args.host, args.port)
    # Here and once: of the workers, none has to make tables or to find an address wrong.
    asyncio.run(_check(settings))
    _listen(listener)
    start_logging()
    # Uvicorn sends itself the signal again once it has stopped in good order: that is no failure.
    # One that comes before uvicorn listens for it ends us, too.
    signal.signal(signal.SIGTERM, _leave)
    shared = f", {args.workers} workers" if args.workers > 1 else ""
    told = f"{settings.mode} mode, {settings.url}, on {args.host}:{args.port}{shared}"
    print(f"shimmy-store: {told}", file=sys.stderr, flush=True)
    with listener:
        if args.workers > 1:
            return _supervise(args, listener)
        uvicorn.Server(_config(args, create_app(settings, open_shop))).run(sockets=[listener])
    return 0


def _leave_no_dumps() -> None:
    """What the system keeps of a crash would hold keys and addresses; workers have it from us."""
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _leave(*_: object) -> None:
    raise SystemExit(0)


def _config(args: argparse.Namespace, app: Any, **more: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=TimedHeads,
        log_config=None,
        # Uvicorn's own lines hold addresses with tokens in them; the app writes its own.
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=args.proxies,
        limit_concurrency=_AT_ONCE,
        timeout_graceful_shutdown=_DRAIN_SECONDS,
        ws="none",
        **more,
    )


def _supervise(args: argparse.Namespace, listener: socket.socket) -> int:
    """A worker that ends is begun anew. All accept on one socket."""
    config = _config(
        args,
        f"{__name__}:worker_app",
        factory=True,
        workers=args.workers,
        timeout_worker_healthcheck=_SILENT_SECONDS,
    )
    # What the workers count, so that whoever is asked can tell of all.
    with _meters_folder() as folder:
        share_meters(folder)
        supervisor = Supervisor(config, [listener])
        supervisor.run()
    # Another try would end the same at once; whoever runs us waits a little before one.
    failed = any(one.exitcode == STARTUP_FAILURE for one in supervisor.processes)
    return _LATER if failed else 0


def _meters_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="shimmy-store-")
    except OSError as error:
        raise SettingsError(
            "no-temporary-folder",
            f"Workers cannot count together: no temporary folder ({type(error).__name__}).",
            hint="Mount a small writable /tmp, name another folder in TMPDIR, or use --workers 1.",
        ) from error


def worker_app() -> Starlette:
    """What each worker serves, made in its process."""
    start_logging()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = shared_meters()
    slot = take_meter_slot(folder)
    app = create_app(read_settings(), open_shop, shared_meters=folder)
    # Open for as long as it serves.
    app.state.meter_slot = slot
    return app


def _end_with_parent() -> None:
    """Nobody would stop a worker whose supervisor was killed, nor free its address."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _bind(host: str, port: int) -> socket.socket:
    """Before anything starts, so that a port in use is one sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, since asyncio switches off Nagle's delay only where the protocol is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise _not_served(f"{host}:{port}", error) from error
    return listener


def _listen(listener: socket.socket) -> None:
    """Here, for all workers: two programs may have bound one address while neither listened yet.

    A worker that finds that out ends, and would be begun anew for ever.
    """
    try:
        listener.listen(_WAITING)
    except OSError as error:
        host, port = listener.getsockname()[:2]
        listener.close()
        raise _not_served(f"{host}:{port}", error) from error


def _not_served(where: str, error: Exception) -> SettingsError:
    return SettingsError(
        "not-served",
        f"The store cannot listen on {where}: {error}.",
        hint="Stop what listens there, or choose another --port.",
    )


async def _check(settings: Settings) -> None:
    """The ledger, before anything listens: its errors are for the operator, in words."""
    # Only what serves sends traces: a command would wait for a collector that is gone.
    async with open_shop(replace(settings, traced=False)) as shop:
        try:
            await shop.ledger.take_stock()
        except LedgerError as error:
            # Then it serves, unwell, so that it can be restored over HTTP.
            if error.code != "ledger-half-restored":
                raise
            print(f"shimmy-store: {error.message} {error.hint}", file=sys.stderr)
