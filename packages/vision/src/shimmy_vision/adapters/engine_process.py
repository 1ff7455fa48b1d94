"""Analyses in a process of their own: whatever kills it, this one lives on.

llama.cpp aborts its process on a failed assertion. Here that process is a child which is started
when it is needed and does several jobs at once. Where it dies with one job, that job is to blame.
Where it dies with several nobody knows which it was: each is done again alone, and only one that
kills its process again is blamed. A child that does not stop when it is told is killed; those who
only stood beside are done again in the same way.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from shimmy_vision.adapters.engine_child import Answer, EngineChild, Gone, Line, Stopped
from shimmy_vision.adapters.engine_errand import Errand
from shimmy_vision.errors import LibraryError, ShimmyError, StoppedError
from shimmy_vision.ports.analyst import EngineStatus, Job, JobEvent, JobListener, PageOutcome
from shimmy_vision.ports.cancellation import Cancellation

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
# A process that lived so long did not die of its start.
_SETTLED_SECONDS = 60.0
_STOP_SECONDS = 5.0
# Jobs are stopped, then pages are reported once more: see wiring.
_FAREWELL_SECONDS = 20.0
_STATUS_SECONDS = 0.5


class _LostError(Exception):
    """The child went away under a job."""


class EngineProcess:
    """The ``Analyst`` port. ``command`` starts the child; ``jobs`` are done at once, others wait.

    A stop that is not answered within ``stop_seconds`` ends the child, as does its being there
    ``farewell_seconds`` after ``close``.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        jobs: int = 1,
        stop_seconds: float = _STOP_SECONDS,
        farewell_seconds: float = _FAREWELL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command, self._environment = tuple(command), environment
        self._jobs, self._clock = jobs, clock
        self._stop_seconds, self._farewell_seconds = stop_seconds, farewell_seconds
        self._changed = threading.Condition()
        self._child: EngineChild | None = None
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
        return self._run(Errand(job, cancellation, listener, self._stop_seconds))

    def prepare(self, cancellation: Cancellation) -> None:
        """As the port says."""
        self._run(Errand(None, cancellation, _ignore, self._stop_seconds))

    def status(self) -> EngineStatus:
        """As the port says. What a child did since it was last asked is not known once it is gone;

        ``gauges`` are those of a running one only.
        """
        child = self._child
        if child is not None and child.alive:
            child.ask_status(_STATUS_SECONDS)
        with self._changed:
            child, counts = self._child, dict(self._counts)
        known = None if child is None else child.known
        if child is None or known is None or not child.alive:
            return EngineStatus(child is not None and child.alive, None, counts, {})
        return EngineStatus(True, known.model, _sum(counts, known.counters), known.gauges)

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
                        errand.check()
                        if errand.verdict is not None:
                            raise errand.verdict from None
                if errand.all_told:
                    return None
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
        child.begin(line, frame)

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
            child.forget(line)
            raise

    def _attend(self, child: EngineChild, errand: Errand, line: Line) -> dict[str, Any] | None:
        while True:
            match line.next(errand.patience()):
                case None:
                    self._lose_patience(child, errand)
                case Answer(result, error):
                    errand.check_listener()
                    if error is not None:
                        raise self._blame(errand, error)
                    return result
                case Gone():
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

    def _lose_patience(self, child: EngineChild, errand: Errand) -> None:
        """The child should have said something by now."""
        if errand.deaf and child.ask_status(_STATUS_SECONDS) is not None:
            # All is well but for what cannot be stopped, which the others may be waiting for too.
            if errand.stopped:
                errand.check()
            errand.wait_on()
            return
        child.forget(errand.line)
        with self._changed:
            if not child.dismissed:
                self._counts["engine_kills"] += 1
            if not errand.stopped:
                # Only its page is over; the next ones begin alone.
                self._suspects.add(errand)
        child.dismiss()
        if errand.stopped:
            errand.check()
        errand.give_page_up()
        raise _LostError

    def _blame(self, errand: Errand, error: Exception) -> Exception:
        # What stopped it is known better here: a deadline, somebody's wish, or the end of all.
        if isinstance(error, StoppedError):
            errand.cancellation.check()
            if self._closed:
                return _closed()
        return error

    def _ready(self, errand: Errand) -> EngineChild:
        with self._changed:
            # One that is dying is waited for, but not for ever.
            self._changed.wait_for(
                lambda: self._closed or self._child is None or self._child.alive, _STOP_SECONDS
            )
            if self._closed:
                raise _closed()
            if self._child is not None and self._child.alive:
                return self._child
            wait = self._not_before - self._clock()
            # A suspect is one of few, and may well be innocent.
            if wait > 0 and errand not in self._suspects:
                raise LibraryError(
                    "engine-resting",
                    f"The engine has crashed {self._deaths} times; it starts again in "
                    f"{wait:.0f} s.",
                    hint="Try again then. If it goes on: shimmy doctor",
                    retryable=True,
                )
            self._child = EngineChild(self._command, self._environment, self._clock(), self._mourn)
            self._counts["engine_starts"] += 1
            return self._child

    def _mourn(self, child: EngineChild) -> None:
        """Decide who may have done it, before anybody hears of it."""
        with self._changed:
            if self._child is child:
                self._child = None
            if child.known is not None:
                self._counts = _sum(self._counts, child.known.counters)
            lost = {one for one in self._running if one.line in child.left}
            self._running -= lost
            if not child.dismissed:
                self._counts["engine_crashes"] += 1
            if child.dismissed or len(lost) > 1:
                self._suspects |= lost
            else:
                self._count_death(child)
                for one in lost:
                    one.verdict = _crashed(child)
            self._changed.notify_all()

    def _count_death(self, child: EngineChild) -> None:
        now = self._clock()
        self._deaths = 1 if now - child.born > _SETTLED_SECONDS else self._deaths + 1
        # The first time it may have been the image: nobody else has to wait for it.
        pause = _FIRST_PAUSE * 2 ** min(self._deaths - 2, 10) if self._deaths > 1 else 0.0
        self._not_before = now + min(pause, _LONGEST_PAUSE)


def _crashed(child: EngineChild) -> LibraryError:
    return LibraryError(
        "engine-crashed",
        f"The engine's process ended while it worked on this{child.words}.",
        hint="Try again; the engine has been started anew. If this image does it every time, "
        "please report it.",
        retryable=True,
    )


def _closed() -> LibraryError:
    return LibraryError("engine-closed", "The engine has been closed.")


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + other.get(name, 0.0) for name in (*one, *other)}


def _ignore(_event: JobEvent) -> None:
    """Nothing is told while an engine is prepared."""
