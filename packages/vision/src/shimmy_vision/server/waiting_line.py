"""Who is served now and who waits: first come, first served, and no more than can be promised."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from shimmy_vision.errors import BusyError, UsageError

# What an analysis takes until one has been seen.
_FIRST_GUESS_SECONDS = 5.0
_LONGEST_PROMISE_SECONDS = 120.0
_WEIGHT_OF_THE_LAST = 0.2


class WaitingLine:
    """``slots`` jobs at once, ``length`` more may wait; for one event loop only."""

    def __init__(self, slots: int, length: int) -> None:
        self.slots, self.length = slots, length
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
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
        return sum(not one.done() for one in self._waiting)

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

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One slot for as long as the block lasts. Raises BusyError where the line is full."""
        self.check()
        loop = asyncio.get_running_loop()
        self._idle.clear()
        try:
            await self._turn(loop)
            began = loop.time()
            try:
                yield
            finally:
                self._usual += _WEIGHT_OF_THE_LAST * (loop.time() - began - self._usual)
                self._leave()
        finally:
            if self._busy == 0 and self.waiting == 0:
                self._idle.set()

    def check(self) -> None:
        """Raises BusyError where the line is full, UsageError where no more are taken."""
        if self._stopping:
            raise UsageError(
                "server-stopping",
                "The server is about to stop and takes no more.",
                hint="Try again when it is back.",
                retryable=True,
            )
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

    async def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._busy < self.slots and not self.waiting:
            self._busy += 1
            return
        mine: asyncio.Future[None] = loop.create_future()
        self._waiting.append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                # The turn came in the very moment of giving up: it goes to the next.
                self._leave()
            raise
        finally:
            if mine in self._waiting:
                self._waiting.remove(mine)

    def _leave(self) -> None:
        self._busy -= 1
        while self._waiting and self._busy < self.slots:
            following = self._waiting.popleft()
            if not following.done():
                self._busy += 1
                following.set_result(None)


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
