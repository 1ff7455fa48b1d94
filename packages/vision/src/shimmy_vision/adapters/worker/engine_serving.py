"""The engine process's own side: jobs in, events and results out, several at once."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from typing import IO, Any, Protocol, TypeAlias

from shimmy_vision.adapters.worker.worker_frames import (
    Frame,
    PipeBrokenError,
    UnsayableError,
    pack_frame,
    read_frame,
    write_packed,
)
from shimmy_vision.adapters.worker.worker_messages import (
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
_NOBODY = -1

_Work: TypeAlias = Callable[[Cancellation], dict[str, Any] | None]


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


def serve_jobs(runner: JobRunner, into: IO[bytes], out: IO[bytes]) -> None:
    """Do what comes in, each job on a thread of its own, until ``into`` ends.

    How many come at once is the parent's to bound. What is under way at the end is stopped, for
    nobody waits for it. What does not stop in time ends with the process, here: nothing of the
    engine may be freed under its feet.
    """
    desk = _Desk(runner, out)
    try:
        desk.greet()
        while (frame := read_frame(into)) is not None:
            desk.take(frame)
    except PipeBrokenError:
        pass  # Whatever broke it, nobody is there any more.
    if not desk.clear(_STOP_SECONDS):
        os._exit(1)


class _Desk:
    """Every job under way with its switch, and the pipe that they all write to."""

    def __init__(self, runner: JobRunner, out: IO[bytes]) -> None:
        self._runner, self._out = runner, out
        self._writing = threading.Lock()
        self._changed = threading.Condition()
        self._under_way: dict[int, Cancellation] = {}

    def greet(self) -> None:
        """Say that the program is up: whatever kills it from now on was none of its start."""
        self._tell(_NOBODY, {"hello": True})

    def take(self, frame: Frame) -> None:
        """Begin or stop what ``frame`` says. Raises PipeBrokenError."""
        match frame.head:
            case {"do": "analyse", "id": int(number)}:
                self._begin(number, partial(self._analyse, number, frame))
            case {"do": "prepare", "id": int(number)}:
                self._begin(number, self._prepare)
            case {"do": "stop", "id": int(number), "reason": reason}:
                with self._changed:
                    switch = self._under_way.get(number)
                if switch is not None:
                    switch.cancel("deadline" if reason == "deadline" else "interrupted")
            case {"do": "status", "id": int(number)}:
                # On a thread of its own: whatever it waits for, stops are heard.
                threading.Thread(target=self._tell_status, args=(number,), daemon=True).start()
            case _:
                raise PipeBrokenError("order-unknown")

    def clear(self, seconds: float) -> bool:
        """Stop everything; False where something has not ended after so many ``seconds``."""
        with self._changed:
            left = tuple(self._under_way.values())
        for switch in left:
            switch.cancel("interrupted")
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, seconds)

    def _begin(self, number: int, work: _Work) -> None:
        switch = Cancellation()
        with self._changed:
            self._under_way[number] = switch
        # A thread each, and none of a pool: one that nothing can stop takes no other's place.
        threading.Thread(
            target=self._do, args=(number, work, switch), name=f"job-{number}", daemon=True
        ).start()

    def _do(self, number: int, work: _Work, switch: Cancellation) -> None:
        try:
            self._answer(number, work, switch)
        except PipeBrokenError:
            pass  # Nobody is there to be answered.
        finally:
            with self._changed:
                del self._under_way[number]
                self._changed.notify_all()

    def _answer(self, number: int, work: _Work, switch: Cancellation) -> None:
        """Whatever happens, somebody waits for an answer."""
        try:
            switch.check()
            self._tell(number, {"result": work(switch)})
        except PipeBrokenError:
            raise
        except ShimmyError as error:
            self._tell_failure(number, error)
        except BaseException as error:  # noqa: BLE001 - one job's failure is not the others'
            self._tell_failure(number, _failed(error))

    def _tell_failure(self, number: int, error: ShimmyError) -> None:
        try:
            self._tell(number, {"error": error_fields(error)})
        except PipeBrokenError:
            raise
        except Exception as worse:  # noqa: BLE001 - in words that can always be said
            self._tell(number, {"error": error_fields(_failed(worse))})

    def _analyse(self, number: int, frame: Frame, switch: Cancellation) -> dict[str, Any] | None:
        def tell(event: JobEvent) -> None:
            self._tell(number, event_fields(event))

        return self._runner.analyse(job_of(frame), switch, _Thinned(tell))

    def _prepare(self, switch: Cancellation) -> None:
        self._runner.prepare(switch)

    def _tell_status(self, number: int) -> None:
        try:
            self._tell(number, {"status": status_fields(self._runner.status())})
        except (PipeBrokenError, UnsayableError):
            return

    def _tell(self, number: int, said: dict[str, Any]) -> None:
        packed = pack_frame(Frame({"id": number, **said}))
        with self._writing:
            write_packed(self._out, packed)


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


def _failed(error: BaseException) -> LibraryError:
    """A mistake of ours, noted where the parent may look; its words may be an image's."""
    traceback.print_tb(error.__traceback__, file=sys.stderr)
    return LibraryError(
        "engine-failed",
        f"The engine failed on this ({type(error).__name__}).",
        hint="Please report it.",
    )
