"""Analyses in a process of their own: whatever kills it, this one lives on.

llama.cpp aborts its process on a failed assertion. Here that process is a child which is started
when it is needed and does several jobs at once. Where it dies with one job, that job is to blame.
Where it dies with several nobody knows which it was: each is done again alone, and only one that
kills its process again is blamed.

A child that answers is left alone, however slow it is: whoever stops a job that does not end is let
go, and the job goes on for nobody. A child that does not answer is killed, and so is one in which
such a job has not ended for long; those who only stood beside are done again in the same way.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from shimmy_vision.adapters.worker.engine_child import Answer, EngineChild, Gone, Line, Stopped
from shimmy_vision.adapters.worker.engine_errand import Errand, Patience
from shimmy_vision.adapters.worker.worker_frames import UnsayableError
from shimmy_vision.errors import LibraryError, SchemaError, ShimmyError, StoppedError
from shimmy_vision.ports.analyst import EngineStatus, Job, JobEvent, JobListener, PageOutcome
from shimmy_vision.ports.cancellation import Cancellation

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
# A pause that is shorter is waited for.
_REST_SECONDS = 5.0
_DYING_SECONDS = 5.0
# Jobs are stopped, then pages are reported once more: see wiring.
_FAREWELL_SECONDS = 20.0
_STATUS_SECONDS = 0.5
# So many jobs that nobody waits for any more may go on, for each that somebody does.
_ABANDONED_A_JOB = 2


class _LostError(Exception):
    """The child went away under a job."""


class EngineProcess:
    """The ``Analyst`` port. ``command`` starts the child; ``jobs`` are done at once, others wait.

    A child that keeps dying at its start is given rest, which whoever comes waits for where it is
    over within ``rest_seconds``. It is killed where it is there ``farewell_seconds`` after
    ``close``.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        jobs: int = 1,
        patience: Patience = Patience(),  # noqa: B008 - it is frozen
        rest_seconds: float = _REST_SECONDS,
        farewell_seconds: float = _FAREWELL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._environment = tuple(command), environment
        self._jobs, self._clock, self._patience = jobs, clock, patience
        self._rest_seconds, self._farewell_seconds = rest_seconds, farewell_seconds
        self._changed = threading.Condition()
        self._child: EngineChild | None = None
        # What they did is not in ``_counts`` yet.
        self._unmourned: set[EngineChild] = set()
        self._running: set[Errand] = set()
        # Who may have killed a child. While there are any, each of them runs alone.
        self._suspects: set[Errand] = set()
        self._deaths, self._not_before = 0, 0.0
        self._closed = False
        self._counts = {"engine_starts": 0.0, "engine_crashes": 0.0, "engine_kills": 0.0}

    @property
    def running(self) -> bool:
        """Whether a child is there now."""
        child = self._child
        return child is not None and child.alive

    def analyse(
        self, job: Job, cancellation: Cancellation, listener: JobListener
    ) -> dict[str, Any] | None:
        """As the port says; ``listener`` is called on this thread."""
        return self._run(Errand(job, cancellation, listener, self._patience))

    def prepare(self, cancellation: Cancellation) -> None:
        """As the port says."""
        self._run(Errand(None, cancellation, _ignore, self._patience))

    def status(self) -> EngineStatus:
        """As the port says. What a child did since it was last asked is not known once it is gone;

        ``gauges`` are those of a running one only.
        """
        child = self._child
        if child is not None and child.alive:
            child.ask_status(_STATUS_SECONDS)
        with self._changed:
            counts: Mapping[str, float] = self._counts
            for one in self._unmourned:
                if one.known is not None:
                    counts = _sum(counts, one.known.counters)
            child = self._child
        if child is None or not child.alive:
            return EngineStatus(False, None, dict(counts), {})
        known = child.known
        if known is None:
            return EngineStatus(True, None, dict(counts), {})
        return EngineStatus(True, known.model, dict(counts), known.gauges)

    def close(self) -> None:
        """As the port says."""
        with self._changed:
            self._closed = True
            child = self._child
            self._changed.notify_all()
        if child is not None:
            child.end(self._farewell_seconds)

    def _run(self, errand: Errand) -> dict[str, Any] | None:
        try:
            while True:
                with self._turn(errand):
                    try:
                        return self._try(errand)
                    except _LostError:
                        errand.check_listener()
                        # Nothing is lost where only the end was left to be told.
                        if errand.all_told:
                            return None
                        errand.check()
                        if errand.verdict is not None:
                            raise errand.verdict from None
        finally:
            with self._changed:
                self._suspects.discard(errand)
                self._changed.notify_all()

    @contextmanager
    def _turn(self, errand: Errand) -> Iterator[None]:
        """Wait for a place. Raises StoppedError, or LibraryError engine-closed."""
        with errand.cancellation.when_cancelled(self._notify), self._changed:
            self._changed.wait_for(
                lambda: (
                    self._closed
                    or errand.cancellation.reason is not None
                    or self._may_begin(errand)
                )
            )
            errand.cancellation.check()
            if self._closed:
                raise _closed()
            self._running.add(errand)
        try:
            yield
        finally:
            with self._changed:
                self._running.discard(errand)
                self._changed.notify_all()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _may_begin(self, errand: Errand) -> bool:
        if self._suspects:
            return errand in self._suspects and not self._running
        return len(self._running) < self._jobs

    def _try(self, errand: Errand) -> dict[str, Any] | None:
        """In one child. Raises _LostError where that went away."""
        child = self._ready(errand)
        frame, line = errand.begin(), errand.line
        errand.check_listener()
        try:
            child.begin(line, frame)
        except UnsayableError as error:
            raise _unsayable() from error

        def stop() -> None:
            child.stop(line, errand.cancellation.reason or "interrupted")
            line.heard.put(Stopped())

        try:
            with errand.cancellation.when_cancelled(stop):
                return self._attend(child, errand, line)
        except BaseException as error:
            if not isinstance(error, ShimmyError | _LostError):
                # Like Ctrl-C: the child does not know of it.
                child.stop(line, "interrupted")
            if child.is_busy_with(line):
                self._abandon(child, errand)
            raise

    def _attend(self, child: EngineChild, errand: Errand, line: Line) -> dict[str, Any] | None:
        while True:
            match line.next(errand.wait()):
                case None:
                    self._look_after(child, errand)
                case Answer(result, error):
                    errand.check_listener()
                    if error is not None:
                        raise self._blame(errand, error)
                    return result
                case Gone():
                    if child.dismissed and errand.is_late() and not errand.deaf:
                        errand.give_page_up()
                    raise _LostError
                case Stopped():
                    errand.note_stop()
                case EngineStatus():
                    pass  # Never on a job's line.
                case event:
                    self._hear(child, errand, event)

    def _hear(self, child: EngineChild, errand: Errand, event: JobEvent) -> None:
        if isinstance(event, PageOutcome):
            self._absolve(errand)
        errand.hear(event)
        if errand.failed and not errand.stopped:
            child.stop(errand.line, "interrupted")
            errand.note_stop()

    def _absolve(self, errand: Errand) -> None:
        """The page that was under suspicion is done: the next ones are like any other's."""
        with self._changed:
            self._suspects.discard(errand)
            self._changed.notify_all()

    def _look_after(self, child: EngineChild, errand: Errand) -> None:
        """The child should have said something by now. Raises what stopped the job."""
        silent = not child.answers(self._patience.answer)
        if not errand.line.heard.empty():
            return  # It has, meanwhile.
        overdue = not errand.deaf and errand.is_late(by=self._patience.grace)
        if silent or (overdue and not errand.stopped):
            # Whoever is stopped, or late, only happens to be the first to ask.
            self._kill(child, excused=errand.stopped or errand.is_late())
            if child.is_busy_with(errand.line) and not errand.stopped:
                raise _LostError  # Not even killed it goes.
        if errand.stopped:
            errand.check()
        errand.note_life()

    def _abandon(self, child: EngineChild, errand: Errand) -> None:
        """Its caller goes; the job stays until it ends."""
        if child.abandon(errand.line) > _ABANDONED_A_JOB * self._jobs:
            self._kill(child, excused=True)
            return
        grace = threading.Timer(self._patience.grace, self._end_abandoned, (child, errand))
        grace.daemon = True
        grace.start()

    def _end_abandoned(self, child: EngineChild, errand: Errand) -> None:
        """It holds what others may need: it must end, and those beside it can be done again."""
        if not child.is_busy_with(errand.line):
            return
        errand.catch_up()
        if errand.deaf:
            self._abandon(child, errand)
        else:
            self._kill(child, excused=True)

    def _kill(self, child: EngineChild, *, excused: bool) -> None:
        with self._changed:
            if child.alive:
                child.dismissed, child.excused = True, excused
                self._counts["engine_kills"] += 1
        child.kill()

    def _blame(self, errand: Errand, error: Exception) -> Exception:
        # What stopped it is known better here: a deadline, somebody's wish, or the end of all.
        if isinstance(error, StoppedError):
            errand.cancellation.check()
            if self._closed:
                return _closed()
        return error

    def _ready(self, errand: Errand) -> EngineChild:
        with errand.cancellation.when_cancelled(self._notify), self._changed:
            # One that is dying is waited for, but not for ever.
            self._changed.wait_for(lambda: self._child is None or self._is_up(), _DYING_SECONDS)
            self._rest(errand)
            if self._closed:
                raise _closed()
            if self._child is not None and self._child.alive:
                return self._child
            self._child = EngineChild(self._command, self._environment, self._mourn)
            self._unmourned.add(self._child)
            self._counts["engine_starts"] += 1
            return self._child

    def _is_up(self) -> bool:
        """Whether there is nothing to wait for, or no use in it."""
        return self._closed or (self._child is not None and self._child.alive)

    def _rest(self, errand: Errand) -> None:
        """Until a child may be started. Raises StoppedError, or LibraryError engine-resting."""
        latest = self._clock() + self._rest_seconds
        # A suspect is one of few, and may well be innocent.
        while not self._is_up() and errand not in self._suspects:
            errand.cancellation.check()
            wait = self._not_before - self._clock()
            if wait <= 0:
                return
            if self._not_before > latest:
                raise _resting(self._deaths, wait)
            self._changed.wait(wait)

    def _mourn(self, child: EngineChild) -> None:
        """Decide who may have done it, before anybody hears of it."""
        with self._changed:
            if self._child is child:
                self._child = None
            self._unmourned.discard(child)
            if child.known is not None:
                self._counts = _sum(self._counts, child.known.counters)
            lost = {one for one in self._running if one.line in child.left}
            self._running -= lost
            if not child.dismissed:
                self._counts["engine_crashes"] += 1
            # It may have been one that nobody waits for any more, too.
            if child.excused or len(child.left) > 1:
                self._suspects |= lost
            else:
                for one in lost:
                    one.verdict = _crashed(child)
            self._count_death(child)
            self._changed.notify_all()

    def _count_death(self, child: EngineChild) -> None:
        """Only those at the start: what a child dies of later is somebody's job, and no other's."""
        if child.spoke:
            self._deaths = 0
        elif not child.excused:
            self._deaths += 1
        # The first time may have been anything: nobody has to wait for it.
        pause = _FIRST_PAUSE * 2 ** min(self._deaths - 2, 10) if self._deaths > 1 else 0.0
        self._not_before = self._clock() + min(pause, _LONGEST_PAUSE)


def _crashed(child: EngineChild) -> LibraryError:
    how = "did not answer any more and was ended" if child.dismissed else "ended"
    return LibraryError(
        "engine-crashed",
        f"The engine's process {how} while it worked on this{child.words}.",
        hint="Try again; the engine has been started anew. If this image does it every time, "
        "please report it.",
        retryable=True,
    )


def _resting(deaths: int, seconds: float) -> LibraryError:
    return LibraryError(
        "engine-resting",
        f"The engine's process ended {deaths} times at its start; it starts again in "
        f"{math.ceil(seconds)} s.",
        hint="Try again then. If it goes on: shimmy doctor",
        retryable=True,
        retry_after=seconds,
    )


def _unsayable() -> SchemaError:
    return SchemaError(
        "schema-invalid",
        "The JSON Schema cannot be passed on: it is nested too deeply, or holds what is no JSON.",
    )


def _closed() -> LibraryError:
    return LibraryError("engine-closed", "The engine has been closed.")


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in (*one, *other)}


def _ignore(_event: JobEvent) -> None:
    """Nothing is told while an engine is prepared."""
