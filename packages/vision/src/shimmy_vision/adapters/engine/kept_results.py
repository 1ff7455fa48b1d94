"""The ``KeptResults`` port in memory: each result as compact JSON, the bytes of all bounded."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from typing import Any

from shimmy_vision.adapters.engine.bounded_lru import BoundedLru
from shimmy_vision.adapters.engine.named_turns import NamedTurns
from shimmy_vision.ports.cancellation import Cancellation


class MemoryResults:
    """At most ``limit`` bytes of results; safe to use from several threads."""

    def __init__(self, limit: int) -> None:
        self.kept: BoundedLru[bytes] = BoundedLru(limit)
        self.turns = NamedTurns()

    @property
    def keeps(self) -> bool:
        return self.kept.limit > 0

    def alone(self, key: str, cancellation: Cancellation) -> AbstractContextManager[None]:
        return self.turns.alone(key, cancellation)

    def find(self, key: str) -> dict[str, Any] | None:
        data = self.kept.find(key)
        if data is None:
            return None
        result: dict[str, Any] = json.loads(data)
        return result

    def keep(self, key: str, result: dict[str, Any]) -> None:
        # As bytes: a tenth of the memory of the objects, and a copy by nature.
        data = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
        encoded = data.encode("utf-8", "surrogatepass")
        self.kept.keep(key, encoded, len(encoded))
