"""The ``EngineSource`` port: opens an engine at its first use, closes it when long unused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from shimmy_vision.adapters.engine.engine_counters import EngineCounters
from shimmy_vision.adapters.engine.fair_pool import FairPool
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.errors import ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import AnyEngine, EngineDescription


class Alarm(Protocol):
    """Rings once on a thread of its own, unless it is cancelled before."""

    def start(self) -> None: ...

    def cancel(self) -> None: ...


def _timer(seconds: float, ring: Callable[[], None]) -> Alarm:
    alarm = threading.Timer(seconds, ring)
    alarm.daemon = True
    return alarm


class LazyEngine:
    """``opener`` runs at the first use, and again after the engine was closed.

    While somebody uses the engine it stays. It is closed ``idle_seconds`` after the last use (None:
    never), after a use that ends with ModelError, and by ``close``, which leaves that to the last
    user where there is one.
    """

    def __init__(
        self,
        opener: Callable[[Granted, Cancellation], AnyEngine],
        idle_seconds: float | None = None,
        counters: EngineCounters | None = None,
        alarm: Callable[[float, Callable[[], None]], Alarm] = _timer,
    ) -> None:
        self._opener, self._idle_seconds, self._alarm = opener, idle_seconds, alarm
        self._counters = counters or EngineCounters()
        self._engine: AnyEngine | None = None
        self._known: EngineDescription | None = None
        self._users = self._visits = 0
        self._pending: Alarm | None = None
        # Opening and closing take long: who waits for them can be cancelled.
        self._door = FairPool(1)
        self._lock = threading.Lock()
        self._leaving = False

    @contextmanager
    def use(self, granted: Granted, cancellation: Cancellation) -> Iterator[AnyEngine]:
        engine = self._enter(granted, cancellation)
        try:
            yield engine
        except ModelError:
            # It is no longer what it was opened as: the next use opens it anew.
            with self._lock:
                self._leaving = True
            raise
        finally:
            self._leave()

    def known(self) -> EngineDescription | None:
        return self._known

    @property
    def loaded(self) -> EngineDescription | None:
        """What is in memory now."""
        engine = self._engine
        return None if engine is None else engine.description

    def close(self) -> None:
        with self._door.lend(Cancellation()):
            with self._lock:
                self._leaving = self._users > 0
                if self._leaving:
                    return
            self._unload()

    def _enter(self, granted: Granted, cancellation: Cancellation) -> AnyEngine:
        with self._door.lend(cancellation):
            engine = self._engine
            if engine is None:
                engine = self._opener(granted, cancellation)
                with self._lock:
                    self._engine, self._known = engine, engine.description
                    self._counters.engine_loads += 1
            with self._lock:
                self._users += 1
                self._visits += 1
                self._silence()
            return engine

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            unused = partial(self._close_if_unused, self._visits)
            closing = self._leaving
            if not closing and self._idle_seconds is not None:
                self._pending = self._alarm(self._idle_seconds, unused)
                self._pending.start()
        if closing:
            unused()

    def _close_if_unused(self, since_visit: int) -> None:
        with self._door.lend(Cancellation()):
            with self._lock:
                # Whoever came in since has silenced the alarm, perhaps too late.
                if self._users or self._visits != since_visit:
                    return
            self._unload()

    def _silence(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None

    def _unload(self) -> None:
        """Behind the door, with nobody inside."""
        with self._lock:
            self._silence()
            self._leaving = False
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()
            self._counters.engine_unloads += 1
