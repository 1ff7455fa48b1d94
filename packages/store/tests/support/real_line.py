"""The store behind the very server that ``shimmy-store serve`` runs, spoken to in bytes."""

from __future__ import annotations

import argparse
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import uvicorn
from store_server import Store, eventually

from shimmy_store.cli import serve
from shimmy_store.server.app import create_app
from shimmy_store.server.timed_heads import TimedHeads
from shimmy_store.wiring import open_shop

_WITNESS = b"GET /alive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True)
class Request:
    """What the store took for one request."""

    method: str
    path: str
    names: frozenset[str]


@dataclass(frozen=True)
class Heard:
    """The statuses that came back, in order; whether the line was closed; what the store saw."""

    statuses: tuple[int, ...]
    closed: bool
    seen: tuple[Request, ...]
    text: bytes


@dataclass
class Line:
    """The store's port, and what its app has been given so far."""

    port: int
    seen: list[Request] = field(default_factory=list)

    def connected(self) -> socket.socket:
        """A line on which nothing has been said."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def say(self, *parts: bytes) -> Heard:
        """Send bytes as they are and then a witness: where it is answered the line was open."""
        self.seen.clear()
        answer = b""
        with self.connected() as line:
            with contextlib.suppress(ConnectionError):
                for part in (*parts, _WITNESS):
                    line.sendall(part)
            with contextlib.suppress(ConnectionError):
                while piece := line.recv(65536):
                    answer += piece
        statuses = [int(one[:3]) for one in answer.split(b"HTTP/1.1 ")[1:]]
        if opened := bool(self.seen) and self.seen[-1].path == "/alive":
            statuses.pop()
            self.seen.pop()
        return Heard(tuple(statuses), not opened, tuple(self.seen), answer)


@contextmanager
def real_line(store: Store, head_seconds: float = TimedHeads.head_seconds) -> Iterator[Line]:
    """Serve the store once more, with heads that may take so long."""
    app = create_app(store.settings, partial(open_shop, now=store.town.now), works=False)
    line = Line(0)

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            names = frozenset(name.decode("latin-1") for name, _ in scope["headers"])
            line.seen.append(Request(scope["method"], scope["path"], names))
        await app(scope, receive, send)

    config = serve._config(argparse.Namespace(proxies="127.0.0.1"), noted)
    assert config.http is TimedHeads
    config.http = type("Impatient", (TimedHeads,), {"head_seconds": head_seconds})
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        line.port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        eventually(lambda: server.started)
        try:
            yield line
        finally:
            server.should_exit = True
            thread.join(20)
