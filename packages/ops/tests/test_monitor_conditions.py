"""Budgets burn, thresholds are passed: each rule fires, ends, and says when it cannot tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled_store import NOW, ago, each_minute, sampled, visits

from shimmy_ops.domain.monitoring.burning import BURN_RULES, LEAST_BAD, burn_rates
from shimmy_ops.domain.monitoring.conditions import judge_conditions
from shimmy_ops.domain.monitoring.increases import History, take_apart
from shimmy_ops.domain.monitoring.objectives import share_of
from shimmy_ops.domain.monitoring.samples import Books, Findings
from shimmy_ops.domain.monitoring.store_metrics import MESSAGES, OLDEST_EVENT, OLDEST_MESSAGE

RULES = {f"burn-{rule.severity}-error-rate" for rule in BURN_RULES}


def _judged(history: History) -> dict[str, tuple[str, ...] | None]:
    """Keys of troubles by rule; None where it cannot tell."""
    return {
        one.rule: None if one.troubles is None else tuple(each.key for each in one.troubles)
        for one in judge_conditions(history, NOW)
    }


def _found(gauges: Mapping[str, float] | None = None, **found: Any) -> Mapping[str, Any]:
    sample = sampled(NOW, gauges=gauges or {}, findings=Findings(**found))
    return _judged(take_apart([sample]))


# (hours ago, requests, errors among them) of single minutes
burst = st.tuples(st.integers(0, 72 * 60 - 1), st.integers(1, 400), st.integers(0, 5))


@given(st.lists(burst, max_size=12, unique_by=lambda one: one[0]))
def test_burn_alerts_fire_as_a_count_of_every_request_says(
    bursts: Sequence[tuple[int, int, int]],
) -> None:
    minutes = {ago(minutes=one): (good, bad) for one, good, bad in bursts}
    samples, total, failed = [], 0, 0
    # Every tenth minute and those in which something happens, the one before them too.
    ticks = {ago(minutes=n) for n in range(0, 72 * 60 + 10, 10)} | set(minutes)
    ticks |= {one - timedelta(minutes=1) for one in minutes}
    for at in sorted(ticks):
        good, bad = minutes.get(at, (0, 0))
        total, failed = total + good, failed + bad
        samples.append(sampled(at, visits(total, failed), born=ago(days=9), every=600))

    def ratio(hours: float) -> tuple[float, int]:
        since = NOW - timedelta(hours=hours)
        inside = [one for at, one in minutes.items() if at > since]
        every, wrong = sum(a + b for a, b in inside), sum(b for _, b in inside)
        return (wrong / every if every else 0.0), wrong

    true = {
        f"burn-{rule.severity}-error-rate"
        for rule in BURN_RULES
        if ratio(rule.long_hours)[1] >= LEAST_BAD
        and min(ratio(rule.long_hours)[0], ratio(rule.short_hours)[0]) / 0.001 >= rule.factor
    }
    history = take_apart(samples)
    judged = _judged(history)
    unsure = {rule for rule in RULES if judged[rule] is None}
    # Samples ten minutes apart leave the window of five minutes without any now and then.
    assert {rule for rule in RULES - unsure if judged[rule]} == true - unsure
    for one in burn_rates(share_of(history, "error-rate"), 0.001, NOW):
        assert (one.rate or 0) == pytest.approx(ratio(one.hours)[0] / 0.001)


def test_an_outage_burns_the_budget_and_ends_with_the_short_window() -> None:
    down = range(40, 46)
    samples = [
        sampled(at, {}, born=ago(days=9), up=n not in down)
        for n, at in enumerate(reversed(list(each_minute(2))))
    ]
    assert _judged(take_apart(samples[::-1]))["burn-page-availability"] == ()
    late = [
        sampled(at, {}, born=ago(days=9), up=n not in range(6))
        for n, at in enumerate(reversed(list(each_minute(2))))
    ]
    judged = _judged(take_apart(late[::-1]))
    assert judged["burn-page-availability"] == ("burn-page-availability",)
    assert judged["store-down"] == ("store-down",)


def test_a_single_lost_probe_is_no_outage_and_ends_none() -> None:
    up, lost = sampled(ago(minutes=1)), sampled(NOW, up=False)
    assert _judged(take_apart([up, lost]))["store-down"] is None
    assert _judged(take_apart([lost, sampled(NOW)]))["store-down"] == ()
    both = [sampled(ago(minutes=1), up=False), lost]
    assert _judged(take_apart(both))["store-down"] == ("store-down",)


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("events-late", {"gauges": {OLDEST_EVENT: 600}}, {"gauges": {OLDEST_EVENT: 601}}),
        ("mail-late", {"gauges": {OLDEST_MESSAGE: 1800}}, {"gauges": {OLDEST_MESSAGE: 1801}}),
        ("mail-parked", {"gauges": {}}, {"gauges": {f"{MESSAGES}|parked": 1}}),
        ("events-undelivered", {"undelivered_seconds": 600.0}, {"undelivered_seconds": 601.0}),
        ("webhook-endpoint", {"endpoint": "enabled"}, {"endpoint": "disabled"}),
        ("backup-old", {"backup_seconds": 26 * 3600.0}, {"backup_seconds": 26 * 3600 + 1.0}),
        ("tickets-late", {"unanswered_seconds": None}, {"unanswered_seconds": 86401.0}),
    ],
)
def test_a_threshold_is_held_up_to_its_limit(
    rule: str, good: Mapping[str, Any], bad: Mapping[str, Any]
) -> None:
    assert _found(**good)[rule] == ()
    assert _found(**bad)[rule] == (rule,)


def test_each_alarm_and_dispute_is_an_alert_of_its_own() -> None:
    books = Books(NOW.isoformat(), disputes=("dp_1", "dp_2"))
    found = _found(alarms={"dispute-open": 2, "merge-credit": 1}, books=books)
    assert found["alarm"] == ("alarm:dispute-open", "alarm:merge-credit")
    assert found["dispute"] == ("dispute:dp_1", "dispute:dp_2")


def _drift(*readings: tuple[str, ...] | None) -> tuple[str, ...] | None:
    samples = [
        sampled(
            ago(minutes=10 * (len(readings) - n)),
            findings=Findings(books=Books(ago(minutes=10 * (len(readings) - n)).isoformat(),
                                          drift=one)),
        )
        for n, one in enumerate(readings)
    ]  # fmt: skip
    return _judged(take_apart(samples))["licence-drift"]


def test_drift_is_alerted_when_two_readings_find_the_same() -> None:
    assert _drift(("cus_1",)) == ()
    assert _drift(("cus_1",), ("cus_2",)) == ()
    assert _drift(("cus_1",), ("cus_1", "cus_2")) == ("licence-drift",)
    assert _drift(("cus_1",), ("cus_1",), ()) == ()
    assert _drift(("cus_1",), ("cus_1",), None) is None


def test_what_was_not_read_is_neither_good_nor_bad() -> None:
    blind = sampled(NOW, findings=Findings(unread={"endpoint": "x", "backup": "x", "tickets": "x"}))
    judged = _judged(take_apart([blind]))
    assert {rule for rule, keys in judged.items() if keys is None} >= {
        "events-late", "events-undelivered", "mail-late", "mail-parked", "licence-drift",
        "dispute", "alarm", "webhook-endpoint", "backup-old", "tickets-late",
    }  # fmt: skip


def test_a_source_that_stays_unreadable_is_alerted() -> None:
    blind = Findings(unread={"metrics": "desk-not-allowed", "endpoint": "billing-unreachable"})
    samples = [sampled(at, findings=blind) for at in each_minute(2 / 60)]
    assert _judged(take_apart(samples))["unread"] == ("unread:endpoint", "unread:metrics")
    assert _judged(take_apart(samples[1:]))["unread"] is None
    down = [*samples[:2], sampled(NOW, findings=blind, up=False)]
    assert _judged(take_apart(down))["unread"] == ("unread:endpoint",)
