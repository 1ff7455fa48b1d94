"""What was used last stays, as long as all of it fits into so many bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

V = TypeVar("V")

# What an entry costs beside its value: key, table slots, objects. Without it, empty values would
# not be bounded at all.
ENTRY_BYTES = 256


class BoundedLru(Generic[V]):
    """Keeps values under keys, at most ``limit`` bytes of them; safe to use from any thread."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._entries: OrderedDict[str, tuple[V, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._bytes = self._hits = self._misses = 0

    @property
    def bytes(self) -> int:
        """What is kept now, ``ENTRY_BYTES`` for each entry included."""
        return self._bytes

    @property
    def hits(self) -> int:
        return self._hits

    @property
    def misses(self) -> int:
        return self._misses

    def takes(self, size: int) -> bool:
        """Whether a value of ``size`` bytes would be kept."""
        return size + ENTRY_BYTES <= self.limit

    def find(self, key: str) -> V | None:
        """What is kept under ``key``; it is now the last to go. Nothing is counted at limit 0."""
        if self.limit == 0:
            return None
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                self._misses += 1
                return None
            self._hits += 1
            self._entries.move_to_end(key)
            return entry[0]

    def holds(self, key: str) -> bool:
        """Whether ``key`` is there; counts as no use of it."""
        return key in self._entries

    def keep(self, key: str, value: V, size: int) -> None:
        """Keep ``value`` of ``size`` bytes; what was used longest ago goes for it."""
        if not self.takes(size):
            return
        cost = size + ENTRY_BYTES
        with self._lock:
            old = self._entries.pop(key, None)
            self._bytes += cost - (0 if old is None else old[1])
            self._entries[key] = (value, cost)
            while self._bytes > self.limit:
                _, (_, freed) = self._entries.popitem(last=False)
                self._bytes -= freed
