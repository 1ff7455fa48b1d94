"""Who is served now and who waits: first come, first served, and no more than can be promised."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from shimmy_vision.errors import BusyError, UsageError

# What an analysis takes until one has been seen.
_FIRST_GUESS_SECONDS = 5.0
_LONGEST_PROMISE_SECONDS = 120.0
_WEIGHT_OF_THE_LAST = 0.2


def stopping_error() -> UsageError:
    """For whom the server has no time any more."""
    return UsageError(
        "server-stopping",
        "The server is about to stop.",
        hint="Try again when it is back.",
        retryable=True,
    )


class WaitingLine:
    """``slots`` jobs at once, ``length`` more may wait; for one event loop only."""

    def __init__(self, slots: int, length: int) -> None:
        self.slots, self.length = slots, length
        self._busy = 0
        self._waiting: deque[Place] = deque()
        self._usual = _FIRST_GUESS_SECONDS
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopping = False

    @property
    def busy(self) -> int:
        """Jobs that are being worked on."""
        return self._busy

    @property
    def waiting(self) -> int:
        """Jobs that wait for a slot."""
        return len(self._waiting)

    @property
    def stopping(self) -> bool:
        """Whether no more are taken."""
        return self._stopping

    def stop(self) -> None:
        """Take no more; who waits is still served."""
        self._stopping = True

    async def drained(self) -> None:
        """Until nobody is served and nobody waits."""
        await self._idle.wait()

    def join(self) -> Place:
        """A place, which has to be entered or given up.

        Raises BusyError where the line is full, UsageError where no more are taken.
        """
        self._check()
        place = Place(self)
        self._idle.clear()
        self._waiting.append(place)
        self._move()
        return place

    def give_up(self, place: Place) -> None:
        """For ``Place``: it waits no more."""
        self._waiting.remove(place)
        self._move()

    def leave(self, seconds: float) -> None:
        """For ``Place``: its slot is free after so many seconds."""
        self._usual += _WEIGHT_OF_THE_LAST * (seconds - self._usual)
        self._busy -= 1
        self._move()

    def _check(self) -> None:
        if self._stopping:
            raise stopping_error()
        if self._busy >= self.slots and self.waiting >= self.length:
            raise BusyError(
                "server-busy",
                f"{self._busy} analyses are under way and {self.waiting} wait.",
                hint="Try again after the time in Retry-After.",
                retry_after=self._promise(),
            )

    def _promise(self) -> float:
        """Seconds until the line will probably have moved by one."""
        return min(_LONGEST_PROMISE_SECONDS, max(1.0, self._usual / self.slots))

    def _move(self) -> None:
        while self._waiting and self._busy < self.slots:
            self._busy += 1
            self._waiting.popleft().turn.set_result(None)
        if not self._busy:
            self._idle.set()


class Place:
    """One job's place in the line; entered, it is a slot for as long as the block lasts."""

    def __init__(self, line: WaitingLine) -> None:
        self._line = line
        self._loop = asyncio.get_running_loop()
        self.turn: asyncio.Future[None] = self._loop.create_future()
        self._began = 0.0

    def give_up(self) -> None:
        """Wait no more: whoever enters then meets CancelledError. Too late, it does nothing."""
        if not self.turn.done():
            self.turn.cancel()
            self._line.give_up(self)

    async def __aenter__(self) -> None:
        await self.turn
        self._began = self._loop.time()

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._line.leave(self._loop.time() - self._began)


class Baggage:
    """How many bytes of images everybody together has brought; ``most`` is what fits."""

    def __init__(self, most: int) -> None:
        self._most, self.held = most, 0

    @contextmanager
    def account(self) -> Iterator[BaggageAccount]:
        """One visitor's; given back at the end of the block."""
        account = BaggageAccount(self)
        try:
            yield account
        finally:
            self.held -= account.held

    def take(self, count: int) -> None:
        """Raises BusyError where it does not fit."""
        if self.held + count > self._most:
            raise BusyError(
                "server-full",
                "The images that wait already fill the memory set aside for them.",
                hint="Try again after the time in Retry-After.",
                retry_after=2.0,
            )
        self.held += count


class BaggageAccount:
    """What one request holds of it."""

    def __init__(self, baggage: Baggage) -> None:
        self._baggage, self.held = baggage, 0

    def take(self, count: int) -> None:
        """Raises BusyError where it does not fit."""
        self._baggage.take(count)
        self.held += count

    def set(self, count: int) -> None:
        """Hold ``count`` from now on. Raises BusyError where that is more and does not fit."""
        if count > self.held:
            self.take(count - self.held)
        else:
            self._baggage.held -= self.held - count
            self.held = count
