"""The ``EngineSource`` port: opens an engine once, keeps it, closes it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import Engine, EngineDescription


class LazyEngine:
    """``opener`` runs at the first use, and again after ``close``."""

    def __init__(self, opener: Callable[[Granted, Cancellation], Engine]) -> None:
        self._opener = opener
        self._engine: Engine | None = None
        self._known: EngineDescription | None = None
        self._lock = threading.Lock()

    @contextmanager
    def use(self, granted: Granted, cancellation: Cancellation) -> Iterator[Engine]:
        with self._lock:
            if self._engine is None:
                self._engine = self._opener(granted, cancellation)
                self._known = self._engine.description
            engine = self._engine
        yield engine

    def known(self) -> EngineDescription | None:
        return self._known

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None
