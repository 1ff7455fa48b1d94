"""Both clients under one interface, so that one test says what holds for each of them."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from typing import Any, Protocol

import anyio

from shimmy_vision.client import AsyncClient, Client
from shimmy_vision.ports.analyst import Job, JobListener
from shimmy_vision.ports.cancellation import Cancellation


class Face(Protocol):
    """``do(name, ...)`` calls a method of a fresh client; what streams comes as a list.

    ``first`` gives a stream's first element, does ``meanwhile`` and closes the stream.
    """

    def __init__(self, url: str, **options: Any) -> None: ...

    def do(self, name: str, *arguments: Any, **options: Any) -> Any: ...

    def first(
        self, meanwhile: Callable[[], None], name: str, *arguments: Any, **options: Any
    ) -> Any: ...


class SyncFace:
    def __init__(self, url: str, **options: Any) -> None:
        self.open: Callable[[], Client] = partial(Client, url, **options)

    def do(self, name: str, *arguments: Any, **options: Any) -> Any:
        with self.open() as client:
            given = getattr(client, name)(*arguments, **options)
            return list(given) if isinstance(given, Generator) else given

    def first(
        self, meanwhile: Callable[[], None], name: str, *arguments: Any, **options: Any
    ) -> Any:
        with self.open() as client:
            given = getattr(client, name)(*arguments, **options)
            one = next(given)
            meanwhile()
            given.close()
            return one


class AsyncFace:
    def __init__(self, url: str, **options: Any) -> None:
        self.open: Callable[[], AsyncClient] = partial(AsyncClient, url, **options)

    def do(self, name: str, *arguments: Any, **options: Any) -> Any:
        async def run() -> Any:
            async with self.open() as client:
                given = getattr(client, name)(*arguments, **options)
                if isinstance(given, AsyncGenerator):
                    return [one async for one in given]
                assert inspect.isawaitable(given)
                return await given

        return anyio.run(run)

    def first(
        self, meanwhile: Callable[[], None], name: str, *arguments: Any, **options: Any
    ) -> Any:
        async def run() -> Any:
            async with self.open() as client:
                given = getattr(client, name)(*arguments, **options)
                one = await anext(given)
                meanwhile()
                await given.aclose()
                return one

        return anyio.run(run)


class Held:
    """A play that tells ``event`` and then holds its job until it is stopped or ``let_go``."""

    def __init__(self, event: Any) -> None:
        self.event, self.open = event, threading.Event()
        self.begun = threading.Event()
        self.stopped = threading.Semaphore(0)

    def __call__(self, _job: Job, switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
        hear(self.event)
        self.begun.set()
        with switch.when_cancelled(self.open.set):
            assert self.open.wait(20)
        if switch.reason is not None:
            self.stopped.release()
        switch.check()
        return {"meta": {"mode": "full"}}
