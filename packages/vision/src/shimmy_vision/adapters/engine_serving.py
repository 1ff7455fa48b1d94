"""The engine process's own side: jobs in, events and results out, several at once."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import IO, Any, Protocol

from shimmy_vision.adapters.worker_frames import Frame, PipeBrokenError, read_frame, write_frame
from shimmy_vision.adapters.worker_messages import (
    error_fields,
    event_fields,
    job_of,
    status_fields,
)
from shimmy_vision.errors import LibraryError, ShimmyError
from shimmy_vision.ports.analyst import EngineStatus, Job, JobEvent, JobListener
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, Progress

# More often nobody can see how the words grow in number; each costs a write.
_COUNT_EVERY_SECONDS = 0.05
_STOP_SECONDS = 5.0


class JobRunner(Protocol):
    """What an ``Analyst`` does, here."""

    def analyse(
        self, job: Job, cancellation: Cancellation, listener: JobListener
    ) -> dict[str, Any] | None:
        """As the port says."""
        ...

    def prepare(self, cancellation: Cancellation) -> None:
        """As the port says."""
        ...

    def status(self) -> EngineStatus:
        """As the port says."""
        ...


def serve_jobs(runner: JobRunner, into: IO[bytes], out: IO[bytes], jobs: int = 1) -> None:
    """Do what comes in, ``jobs`` at once, until ``into`` ends.

    What is under way then is stopped, for nobody waits for it. What does not stop in time ends
    with the process, here: nothing of the engine may be freed under its feet.
    """
    desk = _Desk(runner, out, jobs)
    try:
        while (frame := read_frame(into)) is not None:
            desk.take(frame)
    except PipeBrokenError:
        pass  # Whatever broke it, nobody is there any more.
    if not desk.clear(_STOP_SECONDS):
        os._exit(1)


class _Desk:
    """Every job under way with its switch, and the pipe that they all write to."""

    def __init__(self, runner: JobRunner, out: IO[bytes], jobs: int) -> None:
        self._runner, self._out = runner, out
        self._writing = threading.Lock()
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="job")
        self._lock = threading.Lock()
        self._under_way: dict[int, tuple[Cancellation, Future[None]]] = {}

    def take(self, frame: Frame) -> None:
        """Begin or stop what ``frame`` says. Raises PipeBrokenError."""
        match frame.head:
            case {"do": "analyse", "id": int(number)}:
                self._begin(number, partial(self._analyse, number, frame))
            case {"do": "prepare", "id": int(number)}:
                self._begin(number, self._prepare)
            case {"do": "stop", "id": int(number), "reason": reason}:
                with self._lock:
                    found = self._under_way.get(number)
                if found is not None:
                    found[0].cancel("deadline" if reason == "deadline" else "interrupted")
            case {"do": "status", "id": int(number)}:
                # On a thread of its own: whatever it waits for, stops are heard.
                threading.Thread(target=self._tell_status, args=(number,), daemon=True).start()
            case _:
                raise PipeBrokenError("order-unknown")

    def clear(self, seconds: float) -> bool:
        """Stop everything; False where something has not ended after so many ``seconds``."""
        with self._lock:
            left = tuple(self._under_way.values())
        for switch, _ in left:
            switch.cancel("interrupted")
        _, busy = wait([future for _, future in left], seconds)
        self._threads.shutdown(wait=not busy)
        return not busy

    def _begin(self, number: int, work: Callable[[Cancellation], dict[str, Any] | None]) -> None:
        switch = Cancellation()
        with self._lock:
            future = self._threads.submit(self._answer, number, work, switch)
            self._under_way[number] = switch, future

    def _answer(
        self,
        number: int,
        work: Callable[[Cancellation], dict[str, Any] | None],
        switch: Cancellation,
    ) -> None:
        try:
            switch.check()
            said: dict[str, Any] = {"result": work(switch)}
        except ShimmyError as error:
            said = {"error": error_fields(error)}
        except PipeBrokenError:
            return  # Nobody is there to be answered.
        except Exception as error:  # noqa: BLE001 - one job's failure is not the others'
            said = {"error": error_fields(_failed(error))}
        finally:
            with self._lock:
                del self._under_way[number]
        self._tell(number, said)

    def _analyse(self, number: int, frame: Frame, switch: Cancellation) -> dict[str, Any] | None:
        def tell(event: JobEvent) -> None:
            self._tell(number, event_fields(event))

        return self._runner.analyse(job_of(frame), switch, _Thinned(tell))

    def _prepare(self, switch: Cancellation) -> None:
        self._runner.prepare(switch)

    def _tell_status(self, number: int) -> None:
        try:
            self._tell(number, {"status": status_fields(self._runner.status())})
        except PipeBrokenError:
            return

    def _tell(self, number: int, said: dict[str, Any]) -> None:
        with self._writing:
            write_frame(self._out, Frame({"id": number, **said}))


class _Thinned:
    """Passes on every event of one job, except that words are not counted too often."""

    def __init__(self, tell: JobListener) -> None:
        self._tell = tell
        self._counted = float("-inf")

    def __call__(self, event: JobEvent) -> None:
        inner = event.within if isinstance(event, PageProgress) else event
        if isinstance(inner, Progress) and inner.stage == "generate":
            now = time.monotonic()
            if now - self._counted < _COUNT_EVERY_SECONDS:
                return
            self._counted = now
        self._tell(event)


def _failed(error: Exception) -> LibraryError:
    """A mistake of ours, noted where the parent may look; its words may be an image's."""
    traceback.print_tb(error.__traceback__, file=sys.stderr)
    return LibraryError(
        "engine-failed",
        f"The engine failed on this ({type(error).__name__}).",
        hint="Please report it.",
    )
