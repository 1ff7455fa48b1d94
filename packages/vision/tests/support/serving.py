"""A server on loopback for tests: the real application on the real uvicorn."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

from starlette.types import ASGIApp

from shimmy_vision.ports.analyst import EngineStatus, Job, JobListener
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.server.http_server import HttpServer

Play: TypeAlias = Callable[[Job, Cancellation, JobListener], dict[str, Any] | None]


class PlayedAnalyst:
    """The ``Analyst`` port for tests of what stands before it: it does what it is told."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.jobs: list[Job] = []
        self.counters: Mapping[str, float] = {"engine_starts": 1.0}

    def analyse(
        self, job: Job, cancellation: Cancellation, listener: JobListener
    ) -> dict[str, Any] | None:
        self.jobs.append(job)
        return self.play(job, cancellation, listener)

    def prepare(self, cancellation: Cancellation) -> None:
        """Nothing to load."""

    def status(self) -> EngineStatus:
        return EngineStatus(True, None, self.counters, {})

    def close(self) -> None:
        """Nothing to free."""


class Gate:
    """A play that holds its jobs until the test lets them go or stops them."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.stopped = threading.Semaphore(0)

    def __call__(self, _job: Job, switch: Cancellation, _hear: JobListener) -> dict[str, Any]:
        self.begun.release()
        with switch.when_cancelled(self.open.set):
            assert self.open.wait(20)
        if switch.reason is not None:
            self.stopped.release()
        switch.check()
        return {"meta": {"mode": "full"}}


class _Server(HttpServer):
    async def main_loop(self) -> None:
        """Uvicorn looks ten times a second whether to stop, and tests do so by the hundred."""
        await self.on_tick(0)
        while not self.should_exit:
            await asyncio.sleep(0.01)


@contextmanager
def serve(
    app: ASGIApp,
    *,
    local: str | None = None,
    longest_message: int = 1 << 20,
    drain_seconds: float = 30,
) -> Iterator[str]:
    """The URL of ``app`` on a port of its own, or on the Unix socket ``local`` too."""
    listeners = [socket.create_server(("127.0.0.1", 0), backlog=256)]
    if local is not None:
        listeners.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        listeners[1].bind(local)
        listeners[1].listen(64)
    server = _Server(app, drain_seconds, longest_message)
    thread = threading.Thread(target=server.run, args=(listeners,), name="serve")
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listeners[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        for one in listeners:
            one.close()
