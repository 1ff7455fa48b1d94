"""Numbers are lent in the order they were asked for, and whoever is cancelled leaves at once."""

from __future__ import annotations

import threading

import pytest
from threads import Background, until

from shimmy_vision.adapters.engine.fair_pool import FairPool
from shimmy_vision.errors import DeadlineError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation

ANY = Cancellation()


def test_the_lowest_free_number_is_lent() -> None:
    pool = FairPool(3)
    with pool.lend(ANY) as first, pool.lend(ANY) as second:
        assert (first, second, pool.lent) == (0, 1, 2)
    with pool.lend(ANY) as second, pool.lend(ANY) as third:
        assert (second, third) == (0, 1)
    assert pool.lent == 0


def test_first_come_first_served() -> None:
    pool, served = FairPool(1), list[int]()

    def take(number: int) -> None:
        with pool.lend(ANY):
            served.append(number)

    with pool.lend(ANY):
        callers = []
        for number in range(5):
            callers.append(Background(lambda number=number: take(number)))  # type: ignore[misc]
            until(lambda number=number: pool.waiting == number + 1)  # type: ignore[misc]
        assert served == []
    for caller in callers:
        caller.result()
    assert served == [0, 1, 2, 3, 4]
    assert (pool.lent, pool.waiting) == (0, 0)


def test_a_cancelled_caller_leaves_while_all_are_lent() -> None:
    pool, switches = FairPool(1), [Cancellation(), Cancellation()]

    def take(switch: Cancellation) -> None:
        with pool.lend(switch):
            raise AssertionError("nothing was free")

    with pool.lend(ANY):
        callers = [Background(lambda switch=switch: take(switch)) for switch in switches]  # type: ignore[misc]
        until(lambda: pool.waiting == 2)
        switches[0].cancel("deadline")
        with pytest.raises(DeadlineError):
            callers[0].result()
        assert (pool.waiting, pool.lent) == (1, 1)
        switches[1].cancel("interrupted")
        with pytest.raises(StoppedError):
            callers[1].result()
    with pool.lend(ANY) as number:
        assert number == 0


def test_what_is_served_to_a_cancelled_caller_goes_on() -> None:
    """However cancelling and giving back meet: the number is never lost."""
    pool = FairPool(1)
    for _ in range(200):
        switch, go = Cancellation(), threading.Barrier(2)

        def take(switch: Cancellation = switch) -> None:
            try:
                with pool.lend(switch):
                    pass
            except StoppedError:
                pass

        def throw(switch: Cancellation = switch, go: threading.Barrier = go) -> None:
            go.wait()
            switch.cancel("interrupted")

        with pool.lend(ANY):
            caller, thrower = Background(take), Background(throw)
            until(lambda: pool.waiting == 1)
            go.wait()
        caller.result()
        thrower.result()
        assert (pool.lent, pool.waiting) == (0, 0)
