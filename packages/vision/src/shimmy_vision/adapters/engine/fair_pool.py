"""A few numbered things for many threads: first come, first served, and who is cancelled leaves."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from shimmy_vision.adapters.engine.reply_ticket import Ticket
from shimmy_vision.ports.cancellation import Cancellation


class FairPool:
    """Lends the numbers from 0 to ``count`` - 1, always the lowest that is free.

    With a ``count`` of 1 it is a lock whose waiters can be cancelled.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._free = list(range(count))
        self._waiting: deque[Ticket[int]] = deque()
        self._lock = threading.Lock()

    @property
    def lent(self) -> int:
        """How many are in use."""
        return self._count - len(self._free)

    @property
    def waiting(self) -> int:
        """How many callers wait for one."""
        return len(self._waiting)

    @contextmanager
    def lend(self, cancellation: Cancellation) -> Iterator[int]:
        """One number for the block's duration. Raises StoppedError when cancelled while waiting."""
        cancellation.check()
        number = self._take(cancellation)
        try:
            yield number
        finally:
            self._give_back(number)

    def _take(self, cancellation: Cancellation) -> int:
        ticket: Ticket[int] = Ticket()
        with self._lock:
            if self._free:
                return heapq.heappop(self._free)
            self._waiting.append(ticket)
        return ticket.wait(cancellation, lambda: self._leave(ticket))

    def _leave(self, ticket: Ticket[int]) -> None:
        with self._lock:
            if ticket in self._waiting:
                self._waiting.remove(ticket)
                return
        # It was served in the meantime: the next one gets what this one no longer wants.
        self._give_back(ticket.wait_settled().result())

    def _give_back(self, number: int) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().settle(number)
            else:
                heapq.heappush(self._free, number)
