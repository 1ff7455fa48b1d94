"""What counters grew by, told from samples: against every single request."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled_store import NOW, ago, each_minute, sampled, visits

from shimmy_ops.domain.monitoring.increases import (
    coverage,
    increases_within,
    summed,
    take_apart,
)
from shimmy_ops.domain.monitoring.latency import percentile
from shimmy_ops.domain.monitoring.samples import Sample
from shimmy_ops.domain.monitoring.store_metrics import REQUESTS, is_visit
from shimmy_ops.domain.monitoring.traffic import error_share

KEY = f"{REQUESTS}|buy|200"
HOUR = 3600

# A process: its life, when requests came, when it was asked; all in seconds of an hour.
seconds = st.integers(1, HOUR - 1)
process = st.tuples(
    st.lists(seconds, min_size=2, max_size=2, unique=True),
    st.lists(seconds, max_size=30),
    st.lists(seconds, max_size=12, unique=True),
)


def _life(
    made: tuple[list[int], list[int], list[int]],
) -> tuple[int, list[int], list[int]]:
    """Began, its requests, the moments it was asked: all within its life."""
    (first, second), requests, asked = made
    born, died = min(first, second), max(first, second)
    return (
        born,
        [at for at in requests if born < at <= died],
        sorted(at for at in asked if born < at <= died),
    )


@given(st.lists(process, max_size=4))
def test_every_request_before_the_last_sample_of_its_process_is_counted_once(
    made: list[tuple[list[int], list[int], list[int]]],
) -> None:
    start, samples, true = NOW - timedelta(hours=1), list[Sample](), 0
    for number, (born, requests, asked) in enumerate(map(_life, made)):
        # No two begin in the same microsecond.
        began = start + timedelta(seconds=born, microseconds=number)
        for at in asked:
            counted = sum(one <= at for one in requests)
            sample = sampled(start + timedelta(seconds=at), {KEY: counted}, born=began)
            samples.append(sample)
        true += sum(bool(asked) and one <= asked[-1] for one in requests)
    samples.sort(key=lambda one: one.at)
    found = summed(increases_within(take_apart(samples), start, NOW))
    assert found.get(KEY, 0) == true


@given(st.lists(st.integers(0, 20), min_size=2, max_size=40))
def test_without_a_birthday_a_counter_that_shrinks_began_anew(values: list[int]) -> None:
    samples = [sampled(NOW + timedelta(seconds=n), {KEY: v}) for n, v in enumerate(values)]
    true = sum(after - before if after >= before else after for before, after in pairwise(values))
    assert summed(take_apart(samples).increases).get(KEY, 0) == true


def test_two_processes_behind_one_address_do_not_look_like_restarts() -> None:
    born = ago(minutes=30), ago(minutes=29)
    samples = [
        sampled(at, visits(1000 + n // 2 if n % 2 else 10 + n // 2), born=born[n % 2])
        for n, at in enumerate(each_minute(0.25))
    ]
    history = take_apart(samples)
    within = summed(increases_within(history, ago(minutes=10), NOW))
    assert within[KEY] == 10


def test_what_was_counted_while_nobody_sampled_is_not_put_into_a_later_window() -> None:
    born = ago(days=2)
    samples = [
        sampled(ago(hours=20), visits(10), born=born),
        sampled(ago(minutes=3), visits(5000), born=born),
        sampled(ago(minutes=2), visits(5004), born=born),
    ]
    history = take_apart(samples)
    assert error_share(history, ago(hours=1), NOW).total == 4
    assert error_share(history, ago(hours=24), NOW).total == 4994


def test_samples_noted_in_another_order_than_asked_count_nothing_twice() -> None:
    born = ago(hours=2)
    counts = (100, 110, 108, 112)
    samples = [sampled(ago(minutes=9 - n), visits(v), born=born) for n, v in enumerate(counts)]
    assert summed(increases_within(take_apart(samples), ago(minutes=10), NOW))[KEY] == 12


@given(st.sets(st.integers(0, 59), max_size=60), st.sampled_from([30, 60, 300]))
def test_coverage_is_what_lies_within_an_interval_of_a_sample(
    minutes: set[int], every: int
) -> None:
    samples = [sampled(ago(minutes=one), every=every) for one in sorted(minutes, reverse=True)]
    covered = {
        second
        for one in minutes
        for second in range(max(0, one * 60 - every), min(HOUR, one * 60 + every))
    }
    found = coverage(take_apart(samples), ago(hours=1), NOW)
    assert found == pytest.approx(len(covered) / HOUR)


def test_nobody_watched_a_day_who_looked_once() -> None:
    history = take_apart([sampled(ago(hours=12), every=86400)])
    assert coverage(history, ago(hours=24), NOW) == pytest.approx(1200 / 86400)


BOUNDS = (0.1, 0.5, 1.0)


@given(st.lists(st.floats(0.001, 3), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_lies_in_the_bucket_where_the_true_one_is(
    observed: list[float], share: float
) -> None:
    bounds = (*BOUNDS, math.inf)
    buckets = {bound: float(sum(one <= bound for one in observed)) for bound in bounds}
    true = sorted(observed)[math.ceil(share * len(observed)) - 1]
    upper = next(bound for bound in bounds if true <= bound)
    lower = max((one for one in (0.0, *BOUNDS) if one < upper), default=0.0)
    found = percentile(buckets, share)
    assert found is not None
    assert lower <= found <= min(upper, BOUNDS[-1]) + 1e-9


def test_a_percentile_of_nothing_is_none() -> None:
    assert percentile({}, 0.5) is None
    assert percentile({0.1: 0, math.inf: 0}, 0.5) is None


def test_probes_and_the_operators_own_requests_are_no_visits() -> None:
    assert is_visit("buy")
    assert not any(map(is_visit, ("health", "metrics", "operator_figures")))
