"""One caller at a time for each name; who waits can be cancelled."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shimmy_vision.adapters.engine.fair_pool import FairPool
from shimmy_vision.ports.cancellation import Cancellation


class NamedTurns:
    """A lock for every name that somebody works under just now; first come, first served."""

    def __init__(self) -> None:
        self._under_way: dict[str, tuple[FairPool, int]] = {}
        self._lock = threading.Lock()

    @property
    def callers(self) -> int:
        """How many have their turn or wait for it."""
        with self._lock:
            return sum(callers for _, callers in self._under_way.values())

    @contextmanager
    def alone(self, name: str, cancellation: Cancellation) -> Iterator[None]:
        """With nobody else inside under ``name``. Raises StoppedError when cancelled in line."""
        with self._lock:
            turn, callers = self._under_way.get(name, (FairPool(1), 0))
            self._under_way[name] = (turn, callers + 1)
        try:
            with turn.lend(cancellation):
                yield
        finally:
            with self._lock:
                turn, callers = self._under_way.pop(name)
                if callers > 1:
                    self._under_way[name] = (turn, callers - 1)
