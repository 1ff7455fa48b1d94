"""Serves an ASGI app on 127.0.0.1 in a thread. Not for production: loopback and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from shimmy_sandbox.simulation.controls import Controls

_START_SECONDS = 20
# For what is under way when the server is stopped.
_GRACE_SECONDS = 1.0
_LOOK_SECONDS = 0.02


class _DroppableProtocol(H11Protocol):
    """Shows the app its transport, so that a fault can cut the connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # Signals belong to the program that started this thread.

    # Uvicorn pauses for a fifth of a second on its way out. Tests stop servers by the thousand.

    async def main_loop(self) -> None:
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(_LOOK_SECONDS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in self.servers:
            listening.close()
        for one in sockets or []:
            one.close()
        state, loop = self.server_state, asyncio.get_running_loop()
        for connection in list(state.connections):
            connection.shutdown()
        end = loop.time() + _GRACE_SECONDS
        while (state.connections or state.tasks) and loop.time() < end:
            await asyncio.sleep(_LOOK_SECONDS / 4)
        for task in state.tasks:
            task.cancel()


@dataclass(frozen=True, slots=True)
class LoopbackServer:
    """A running server; ``url`` has no trailing slash."""

    url: str
    port: int
    ended: threading.Event

    def wait(self) -> None:
        """Block until the server stops or Ctrl-C."""
        # Not Thread.join: up to Python 3.12 one that Ctrl-C cuts off takes the thread for ended.
        while not self.ended.wait(0.2):
            pass


@dataclass(frozen=True, slots=True)
class Served:
    """A simulator that is being served; ``url`` has no trailing slash."""

    loopback: LoopbackServer
    controls: Controls

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return self.loopback.url

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self.loopback.port

    def wait(self) -> None:
        """Block until the server stops or Ctrl-C."""
        self.loopback.wait()


@contextmanager
def serve_on_loopback(app: ASGIApp, port: int = 0) -> Iterator[LoopbackServer]:
    """Serve ``app`` on 127.0.0.1:``port`` (0: any free one) until the block ends.

    No Date and no Server header are added: simulators sign their own Date.
    Raises OSError when the port is taken.
    """
    # The protocol is named because asyncio switches off Nagle's delay only where it is: otherwise
    # every second reply on a connection would wait 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    config = uvicorn.Config(
        app,
        http=_DroppableProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        date_header=False,
        server_header=False,
    )
    server, ended = _Server(config), threading.Event()

    def run() -> None:
        try:
            server.run([listener])
        finally:
            ended.set()

    threading.Thread(target=run, daemon=True).start()
    try:
        _await_start(server, ended)
        number = int(listener.getsockname()[1])
        yield LoopbackServer(f"http://127.0.0.1:{number}", number, ended)
    finally:
        server.should_exit = True
        ended.wait(_START_SECONDS)
        listener.close()


def _await_start(server: uvicorn.Server, ended: threading.Event) -> None:
    for _ in range(_START_SECONDS * 200):
        if server.started or ended.wait(0.005):
            break
    if not server.started:
        raise RuntimeError("the sandbox server did not start")
