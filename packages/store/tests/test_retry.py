"""When what failed is tried again, and when a person has to look."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.retry import (
    LEAST_ATTEMPTS,
    PARK_AFTER,
    Failure,
    decide_retry,
    read_failure,
)
from shimmy_store.errors import LicensingError, MailError, PaymentsError

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(1, 5), (2, 10), (3, 20), (4, 30), (60, 30), (61, 60), (66, 1920), (67, 3600), (10**6, 3600)],
)
def test_it_waits_half_a_minute_for_a_while_and_then_longer_up_to_an_hour(
    attempts: int, seconds: int
) -> None:
    longest = decide_retry(attempts, HOUR, 1.0, retryable=True)
    shortest = decide_retry(attempts, HOUR, 0.0, retryable=True)
    assert (longest, shortest) == (seconds * SECOND, seconds * SECOND / 2)


def test_it_goes_on_for_four_days_however_often_that_is() -> None:
    for attempts in (1, 80, 10_000):
        assert decide_retry(attempts, PARK_AFTER - SECOND, 0.5, retryable=True) is not None
    assert decide_retry(LEAST_ATTEMPTS, PARK_AFTER, 0.5, retryable=True) is None


def test_old_work_that_was_hardly_tried_is_not_given_up_at_once() -> None:
    assert decide_retry(1, 30 * PARK_AFTER, 0.5, retryable=True) is not None


@given(st.integers(1, 10**9), st.floats(0, 1), st.integers(0, 10**6))
def test_what_refuses_for_good_is_not_tried_again(attempts: int, chance: float, age: int) -> None:
    assert decide_retry(attempts, age * SECOND, chance, retryable=False) is None


def test_for_a_quarter_of_an_hour_it_is_back_within_half_a_minute() -> None:
    """However unlucky: what everybody waits for within a minute of an outage's end."""
    age, attempts = timedelta(0), 1
    while age < timedelta(minutes=15):
        wait = decide_retry(attempts, age, 1.0, retryable=True)
        assert wait is not None and wait <= 30 * SECOND
        age, attempts = age + wait, attempts + 1


def test_four_days_are_over_after_fewer_than_three_hundred_tries() -> None:
    age, attempts = timedelta(0), 1
    while (wait := decide_retry(attempts, age, 0.0, retryable=True)) is not None:
        age, attempts = age + wait, attempts + 1
    assert attempts < 300
    assert PARK_AFTER <= age < PARK_AFTER + HOUR


def test_a_mistake_of_ours_is_tried_again_and_named_by_its_kind() -> None:
    failure = read_failure(ZeroDivisionError("with an address in it: a@b.example"))
    assert failure == Failure("crashed", retryable=True, crash="ZeroDivisionError")
    assert failure.alarms == ()


@pytest.mark.parametrize(
    ("error", "alarms"),
    [
        (PaymentsError("payments-not-allowed", "", retryable=True), ("stripe",)),
        (LicensingError("licensing-not-allowed", "", retryable=True), ("keygen",)),
        (PaymentsError("payments-refused", ""), ()),
        (MailError("mail-deferred", "", retryable=True), ()),
    ],
)
def test_a_key_that_is_refused_is_an_alarm(error: Exception, alarms: tuple[str, ...]) -> None:
    failure = read_failure(error)
    assert failure.crash == ""
    assert failure.alarms == tuple(Alarm("credentials-refused", one) for one in alarms)
