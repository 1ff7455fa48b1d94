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

from starlette.types import ASGIApp

from shimmy_vision.errors import UsageError
from shimmy_vision.server.http_server import HttpServer
from shimmy_vision.server.logs import start_logging

if sys.platform != "win32":
    import fcntl

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
    server = HttpServer(app, drain_seconds, longest_message)

    def stop(*_: object) -> None:
        # Before uvicorn listens to it; and after, when uvicorn has stopped in good order and sends
        # itself the signal again, which is no failure.
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with ExitStack() as listening:
        sockets = [listening.enter_context(_listen(places.host, places.port))]
        port = sockets[0].getsockname()[1]
        if places.local is not None and hasattr(socket, "AF_UNIX"):
            sockets.extend(listening.enter_context(_listen_locally(places.local)))
        shown = f"[{places.host}]" if ":" in places.host else places.host
        print(f"shimmy: http://{shown}:{port}  (API: /docs)", file=sys.stderr, flush=True)
        server.run(sockets=sockets)


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
    with ExitStack() as held:
        listener = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        opened = True
        try:
            _bind(listener, path, held)
        except OSError as error:
            # The HTTP address serves all the same: only `shimmy vision` does without this server.
            print(f"shimmy: no local socket: {error}", file=sys.stderr)
            opened = False
        yield [listener] if opened else []


def _bind(listener: socket.socket, path: Path, held: ExitStack) -> None:
    """``held`` keeps the name ours, and removes it at the end. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_folder(path.parent)
    _take_name(path, held)
    _remove_stale(path)
    listener.bind(str(path))
    held.callback(_remove_own, path, path.lstat())
    path.chmod(0o600)
    listener.listen(_BACKLOG)


def _take_name(path: Path, held: ExitStack) -> None:
    """Between binding and listening a socket looks like one whose server is gone: so whoever

    looks holds a lock. Its file stays, as another may be about to lock it. Raises OSError.
    """
    lock = held.enter_context(path.with_name(f"{path.name}.lock").open("ab"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OSError(errno.EADDRINUSE, "another server has it") from error


def _remove_own(path: Path, ours: os.stat_result) -> None:
    with suppress(OSError):
        if os.path.samestat(path.lstat(), ours):
            path.unlink()


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
