"""Percentiles of durations, against their definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shimmy_store.domain.figures import Spread, spread_of


def naive(seconds: list[float], percent: int) -> float:
    """The smallest that at least so many of a hundred do not exceed."""
    return next(
        one
        for one in sorted(seconds)
        if sum(other <= one for other in seconds) * 100 >= percent * len(seconds)
    )


def test_of_nothing_there_are_no_figures() -> None:
    assert spread_of([]) == Spread(0, None, None, None, None)


def test_the_hundred_numbers() -> None:
    assert spread_of([float(one) for one in range(100, 0, -1)]) == Spread(100, 50, 95, 99, 100)


def test_twenty_do_not_fall_to_a_rounding_error() -> None:
    assert spread_of([float(one) for one in range(1, 21)]).p95 == 19


@given(st.lists(st.floats(-10, 1e6), min_size=1, max_size=60))
def test_each_figure_is_one_that_was_and_the_right_one(seconds: list[float]) -> None:
    spread = spread_of(seconds)
    assert (spread.count, spread.max) == (len(seconds), max(seconds))
    assert [spread.p50, spread.p95, spread.p99] == [naive(seconds, one) for one in (50, 95, 99)]
