"""One thread on which everything native is computed: encoder and decoder take turns.

ggml's OpenMP threads belong to the thread that started them and go on spinning for a while: two
threads that compute would fight for the same cores, and each caller's thread would bring a pool of
its own. So callers hand in their work and wait.

A turn is one slice of an image or one decode step. After a slice, decoding comes first for as long
as that slice took: an encode never holds up others' answers by more than one slice, and is itself
held up to half at most.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar

from shimmy_vision.adapters.engine.reply_ticket import Ticket
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.cancellation import Cancellation

T = TypeVar("T")

# Resting takes some milliseconds, and so does what is asked next.
_IDLE_SECONDS = 2.0


class Decoder(Protocol):
    """Whose steps are turns. Both are called on the computing thread."""

    def due(self, now: float, *, patient: bool) -> float | None:
        """When the next step may begin; None if there is nothing to decode. Called locked.

        Later than ``now`` means: then, unless something comes before. ``patient`` asks to wait
        longer for callers about to come, because something much longer would begin instead.
        """
        ...

    def step(self) -> None:
        """One step; must not raise."""
        ...

    def abandon(self, error: LibraryError) -> None:
        """There are no more turns: tell whoever waits. Called locked."""
        ...


class _Job(Generic[T]):
    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.ticket: Ticket[T] = Ticket()

    def run(self) -> None:
        try:
            self.ticket.settle(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self.ticket.fail(error)


class _Desk:
    """What waits for its turn. The thread knows nothing else, so that all else can be freed."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.changed = threading.Condition()
        self.errands: deque[_Job[Any]] = deque()
        self.slices: deque[_Job[Any]] = deque()
        self.decoder: Decoder | None = None
        self.decode_first_until = 0.0
        self.closed = False
        self.rest: Callable[[], object] | None = None
        self.rested = False

    def next_turn(self) -> Callable[[], None] | None:
        """Wait for the next piece of work; None once closed."""
        with self.changed:
            while not self.closed:
                now = self.clock()
                due = None if self.errands else self._decoding_due(now)
                turn = self._turn(due, now)
                if turn is not None:
                    self.rested = False
                    return turn
                if due is not None:
                    self.changed.wait(due - now)
                elif self.rest is None or self.rested:
                    self.changed.wait()
                elif not self.changed.wait(_IDLE_SECONDS):
                    self.rested = True
                    return self._rest(self.rest)
            return None

    def _turn(self, due: float | None, now: float) -> Callable[[], None] | None:
        """What can be done now."""
        if self.errands:
            return self.errands.popleft().run
        if due is not None and due <= now and self.decoder is not None:
            return self.decoder.step
        if due is None and self.slices:
            return self._slice(self.slices.popleft())
        return None

    def _decoding_due(self, now: float) -> float | None:
        """When the decoder's turn is; None if it has none before the next slice."""
        if self.decoder is None or (self.slices and now >= self.decode_first_until):
            return None
        due = self.decoder.due(now, patient=bool(self.slices))
        if due is None:
            self.decoder = None  # It announces itself again; until then it may be freed.
            return None
        return min(due, self.decode_first_until) if self.slices and due > now else due

    def _slice(self, job: _Job[Any]) -> Callable[[], None]:
        def run() -> None:
            started = self.clock()
            job.run()
            ended = self.clock()
            self.decode_first_until = ended + (ended - started)

        return run

    def _rest(self, rest: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            # Nobody waits for it; without this thread everybody would wait for ever.
            with suppress(Exception):
                self.rested = rest() is not False

        return run

    def close(self) -> None:
        error = LibraryError("engine-closed", "The engine has been closed.")
        with self.changed:
            self.closed = True
            for job in (*self.errands, *self.slices):
                job.ticket.fail(error)
            self.errands.clear()
            self.slices.clear()
            if self.decoder is not None:
                self.decoder.abandon(error)
                self.decoder = None
            self.rest = None
            self.changed.notify_all()


class ComputeTurns:
    """The thread and its queue. ``close`` ends it, also when this object is dropped."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._desk = _Desk(clock)
        thread = threading.Thread(target=_work, args=(self._desk,), name="compute", daemon=True)
        thread.start()
        self.close = weakref.finalize(self, _end, self._desk, thread)

    @property
    def waiting(self) -> int:
        """How many slices wait for their turn."""
        return len(self._desk.slices)

    def encode(self, work: Callable[[], T], cancellation: Cancellation) -> T:
        """Run ``work``, one slice of an image, when its turn has come, and return its result.

        Raises StoppedError at once when cancelled while waiting; ``work`` itself has to notice
        while it runs. Raises what ``work`` raises, and LibraryError engine-closed.
        """
        return self._do(work, self._desk.slices, cancellation)

    def errand(self, work: Callable[[], T], cancellation: Cancellation) -> T:
        """As ``encode``, for something short that comes before everything else."""
        return self._do(work, self._desk.errands, cancellation)

    def when_idle(self, rest: Callable[[], object]) -> None:
        """Call ``rest`` on the thread each time it has long had no work.

        Where it returns False, it could not rest, and is called again soon. Nobody hears its
        errors. Whatever it refers to is kept until ``close``.
        """
        with self._desk.changed:
            self._desk.rest = rest
            self._desk.changed.notify_all()

    @contextmanager
    def decoding(self, decoder: Decoder) -> Iterator[None]:
        """A block, under the lock, in which ``decoder``'s pending work may change."""
        with self._desk.changed:
            if self._desk.closed:
                raise LibraryError("engine-closed", "The engine has been closed.")
            self._desk.decoder = decoder
            yield
            self._desk.changed.notify_all()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """The same, for what makes less work."""
        with self._desk.changed:
            yield
            self._desk.changed.notify_all()

    def _do(self, work: Callable[[], T], queue: deque[_Job[Any]], cancellation: Cancellation) -> T:
        cancellation.check()
        job = _Job(work)
        with self._desk.changed:
            if self._desk.closed:
                raise LibraryError("engine-closed", "The engine has been closed.")
            queue.append(job)
            self._desk.changed.notify_all()
        return job.ticket.wait(cancellation, lambda: self._withdraw(job, queue))

    def _withdraw(self, job: _Job[Any], queue: deque[_Job[Any]]) -> None:
        """Leave the queue; what runs already has to be waited for, it uses the caller's memory."""
        with self._desk.changed:
            if job in queue:
                queue.remove(job)
                return
        job.ticket.wait_settled()


def _work(desk: _Desk) -> None:
    while _take_turn(desk):
        pass


def _take_turn(desk: _Desk) -> bool:
    # A function of its own, so that nothing of the last turn is held while waiting for the next.
    turn = desk.next_turn()
    if turn is None:
        return False
    turn()
    return True


def _end(desk: _Desk, thread: threading.Thread) -> None:
    desk.close()
    if threading.current_thread() is not thread:
        thread.join()
