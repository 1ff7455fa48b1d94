"""The engine is there while somebody uses it, and goes when nobody did for a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any, cast

import pytest
from threads import Background, until

from shimmy_vision.adapters.engine.engine_counters import EngineCounters
from shimmy_vision.adapters.engine.lazy_engine import LazyEngine
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.errors import ModelError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import AnyEngine, Engine

ANY = Cancellation()
GRANTED = cast(Granted, object())  # handed through, never looked into


class _Alarms:
    """Alarms that ring when the test says so."""

    def __init__(self) -> None:
        self.set = list[SimpleNamespace]()

    def __call__(self, seconds: float, ring: Callable[[], None]) -> Any:
        one = SimpleNamespace(seconds=seconds, ring=ring, live=False)
        one.start = lambda: setattr(one, "live", True)
        one.cancel = lambda: setattr(one, "live", False)
        self.set.append(one)
        return one


class _Opener:
    def __init__(self) -> None:
        self.opened, self.closed = 0, list[int]()
        self.go = threading.Event()
        self.go.set()

    def __call__(self, _granted: Granted, cancellation: Cancellation) -> Engine:
        with cancellation.when_cancelled(self.go.set):
            self.opened += 1
            assert self.go.wait(60)
        cancellation.check()
        number = self.opened
        made = SimpleNamespace(description=f"engine {number}")
        made.close = lambda: self.closed.append(number)
        return cast(Engine, made)


def _named(engine: AnyEngine) -> str:
    return str(engine.description)


def test_it_opens_once_and_closes_long_after_the_last_use() -> None:
    opener, alarms, counters = _Opener(), _Alarms(), EngineCounters()
    engines = LazyEngine(opener, 30.0, counters, alarms)
    assert engines.known() is engines.loaded is None
    with engines.use(GRANTED, ANY) as one, engines.use(GRANTED, ANY) as other:
        assert one is other
    assert [(alarm.seconds, alarm.live) for alarm in alarms.set] == [(30.0, True)]
    alarms.set[0].ring()
    assert (opener.opened, opener.closed, engines.loaded) == (1, [1], None)
    assert str(engines.known()) == "engine 1"
    with engines.use(GRANTED, ANY) as again:
        assert _named(again) == "engine 2"
    assert (counters.engine_loads, counters.engine_unloads) == (2, 1)


def test_a_late_alarm_closes_nothing() -> None:
    opener, alarms = _Opener(), _Alarms()
    engines = LazyEngine(opener, 30.0, alarm=alarms)
    with engines.use(GRANTED, ANY):
        pass
    with engines.use(GRANTED, ANY):
        assert not alarms.set[0].live
        alarms.set[0].ring()
        assert opener.closed == []
    alarms.set[0].ring()
    assert opener.closed == []
    alarms.set[1].ring()
    assert opener.closed == [1]


def test_without_a_limit_it_stays() -> None:
    opener, alarms = _Opener(), _Alarms()
    engines = LazyEngine(opener, alarm=alarms)
    with engines.use(GRANTED, ANY):
        pass
    assert (alarms.set, opener.closed) == ([], [])
    engines.close()
    engines.close()
    assert opener.closed == [1]


def test_closing_leaves_it_to_the_last_user() -> None:
    opener, alarms = _Opener(), _Alarms()
    engines = LazyEngine(opener, 30.0, alarm=alarms)
    with ExitStack() as first, ExitStack() as second:
        first.enter_context(engines.use(GRANTED, ANY))
        engines.close()
        second.enter_context(engines.use(GRANTED, ANY))
        first.close()
        assert opener.closed == []
        second.close()
        assert opener.closed == [1]
    assert not any(alarm.live for alarm in alarms.set)


def test_closing_silences_the_alarm() -> None:
    opener, alarms = _Opener(), _Alarms()
    engines = LazyEngine(opener, 30.0, alarm=alarms)
    with engines.use(GRANTED, ANY):
        pass
    engines.close()
    assert (opener.closed, alarms.set[0].live) == ([1], False)


def test_who_waits_for_anothers_opening_can_leave_or_take_over() -> None:
    opener, leaders, followers = _Opener(), Cancellation(), Cancellation()
    engines = LazyEngine(opener)
    opener.go.clear()

    def use(switch: Cancellation) -> str:
        with engines.use(GRANTED, switch) as engine:
            return _named(engine)

    leader = Background(lambda: use(leaders))
    until(lambda: opener.opened == 1)
    leaving, staying = Background(lambda: use(followers)), Background(lambda: use(ANY))
    until(lambda: engines._door.waiting == 2)
    followers.cancel("deadline")
    with pytest.raises(StoppedError):
        leaving.result()
    assert leader.running
    leaders.cancel("interrupted")
    with pytest.raises(StoppedError):
        leader.result()
    assert staying.result() == "engine 2"


def test_what_cannot_be_opened_is_tried_again() -> None:
    calls = list[int]()

    def opener(_granted: Granted, _switch: Cancellation) -> Engine:
        calls.append(1)
        raise ModelError("model-missing", "There is none.")

    engines = LazyEngine(opener, 30.0, alarm=_Alarms())
    for _ in range(2):
        with pytest.raises(ModelError), engines.use(GRANTED, ANY):
            pass
    engines.close()
    assert (len(calls), engines.known()) == (2, None)


def test_an_engine_whose_model_is_another_now_is_opened_anew() -> None:
    opener = _Opener()
    engines = LazyEngine(opener)
    with pytest.raises(ModelError), engines.use(GRANTED, ANY):
        raise ModelError("remote-model-changed", "It is another.")
    assert opener.closed == [1]
    for _ in range(2):
        with engines.use(GRANTED, ANY) as engine:
            assert _named(engine) == "engine 2"


def test_the_real_alarm_rings() -> None:
    opener = _Opener()
    engines = LazyEngine(opener, 0.01)
    with engines.use(GRANTED, ANY):
        pass
    until(lambda: opener.closed == [1])
