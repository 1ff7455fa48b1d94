"""Where the server listens: TCP for everybody, a Unix socket for this user's own programs."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from shimmy_vision.errors import UsageError
from shimmy_vision.server.logs import start_logging
from shimmy_vision.server.socket_protocol import SocketProtocol

# More connections at once than this are told 503: each costs a file descriptor and some memory.
_MOST_CONNECTIONS = 1000
_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Places:
    """``port`` 0 takes any that is free; ``local`` None listens on no Unix socket."""

    host: str
    port: int
    local: Path | None


def serve_app(
    app: ASGIApp, places: Places, drain_seconds: float, *, longest_message: int = 1 << 20
) -> None:
    """Serve until SIGINT or SIGTERM; what is under way then has ``drain_seconds``.

    ``longest_message`` in bytes bounds what comes through a WebSocket; longer ones close it.
    Raises UsageError not-served where it cannot listen.
    """
    start_logging()
    config = uvicorn.Config(
        app,
        log_config=None,
        # Uvicorn's own lines hold addresses; the app writes its own.
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=int(drain_seconds) + 1,
        ws=SocketProtocol,
        ws_max_size=longest_message,
        # What is sent is an image or small, and a packed one could grow.
        ws_per_message_deflate=False,
    )
    # Uvicorn sends itself the signal again once it has stopped in good order: that is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with ExitStack() as listening:
        sockets = [listening.enter_context(_listen(places.host, places.port))]
        port = sockets[0].getsockname()[1]
        if places.local is not None and hasattr(socket, "AF_UNIX"):
            sockets.extend(listening.enter_context(_listen_locally(places.local)))
        shown = f"[{places.host}]" if ":" in places.host else places.host
        print(f"shimmy: http://{shown}:{port}  (API: /docs)", file=sys.stderr, flush=True)
        uvicorn.Server(config).run(sockets=sockets)


def _listen(host: str, port: int) -> socket.socket:
    """Before anything starts, so that a port in use is one sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, since asyncio switches off Nagle's delay only where the protocol is.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(
            "not-served",
            f"The server cannot listen on {host}:{port}: {error}.",
            hint="Stop what listens there, or choose another --port.",
        ) from error
    return listener


@contextmanager
def _listen_locally(path: Path) -> Iterator[list[socket.socket]]:
    """A socket that its owner alone may open; none where another server has it already."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened = _bind(listener, path)
        yield [listener] if opened else []
    finally:
        listener.close()
        if opened:
            path.unlink(missing_ok=True)


def _bind(listener: socket.socket, path: Path) -> bool:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_folder(path.parent)
        _remove_stale(path)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except OSError as error:
        # The HTTP address serves all the same: only `shimmy vision` does without this server.
        print(f"shimmy: no local socket: {error}", file=sys.stderr)
        return False
    return True


def _check_folder(folder: Path) -> None:
    """Nobody else may put a socket there. Raises OSError."""
    found = folder.lstat()
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise OSError(errno.EPERM, f"others may write into {folder}")


def _remove_stale(path: Path) -> None:
    """A socket whose server is gone. Raises OSError where one still answers."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(errno.EEXIST, "something else has its name")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
            try:
                knock.connect(str(path))
            except ConnectionRefusedError:
                path.unlink()
                return
        raise OSError(errno.EADDRINUSE, "another server has it")
