"""The ``EngineSource`` port: opens an engine once, keeps it, closes it."""

from __future__ import annotations

from collections.abc import Callable

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import Engine


class LazyEngine:
    """``opener`` runs at the first use, and again after ``close``."""

    def __init__(self, opener: Callable[[Granted, Cancellation], Engine]) -> None:
        self._opener = opener
        self._engine: Engine | None = None

    def open(self, granted: Granted, cancellation: Cancellation) -> Engine:
        if self._engine is None:
            self._engine = self._opener(granted, cancellation)
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()
            self._engine = None
