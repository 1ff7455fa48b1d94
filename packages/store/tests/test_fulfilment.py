"""Which licence follows from what a customer has bought: every rule, and what always holds."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from purchases_made import DAY, MONTH, NOW, PURCHASES, TICK, bought, lifetime, subscription

from shimmy_store.domain.catalog import PlanId
from shimmy_store.domain.fulfilment import (
    GRACE,
    Alarm,
    Decision,
    Licence,
    decide_fulfilment,
    licence_id,
)
from shimmy_store.domain.purchases import (
    Payment,
    Purchases,
    Reversal,
    Subscription,
    SubscriptionStatus,
)


def decided(*parts: Subscription | Payment, now: datetime = NOW) -> Decision:
    return decide_fulfilment(bought("cus_1", *parts), now)


def licence(*parts: Subscription | Payment, now: datetime = NOW) -> Licence:
    found = decided(*parts, now=now).licence
    assert found is not None
    return found


def test_nothing_paid_is_no_licence() -> None:
    assert decided() == Decision(None)
    for status in ("incomplete", "incomplete_expired", "active", "trialing"):
        assert decided(subscription(status, through=None)).licence is None
    for payment in ("processing", "failed"):
        assert decided(replace(lifetime(), status=payment)).licence is None


def test_a_paid_month_is_a_licence_until_three_days_after_it() -> None:
    found = licence(subscription())
    assert (found.plan, found.suspended, found.source) == ("developer", None, "sub_1")
    assert found.expiry == NOW + 20 * DAY + GRACE
    assert found.month == (NOW - 10 * DAY, NOW + 20 * DAY)
    assert found.id == licence_id("sub_1")


def test_a_plan_bought_once_never_expires() -> None:
    found = licence(lifetime())
    assert (found.plan, found.expiry, found.month, found.suspended) == (
        ("lifetime", None, None, None)
    )


@pytest.mark.parametrize(
    ("status", "since", "reason"),
    [
        ("past_due", timedelta(0), None),
        ("past_due", GRACE - TICK, None),
        ("past_due", GRACE, "unpaid"),
        ("unpaid", -TICK, None),
        ("unpaid", timedelta(0), "unpaid"),
        ("canceled", -TICK, None),
        ("canceled", timedelta(0), "ended"),
        ("paused", timedelta(0), "ended"),
        ("active", GRACE - TICK, None),
        ("active", GRACE, "ended"),
    ],
)
def test_access_after_the_month_paid_for(
    status: SubscriptionStatus, since: timedelta, reason: str | None
) -> None:
    """``since`` is how long ago the month ended: a renewal that may still come has three days."""
    assert licence(subscription(status, through=NOW - since)).suspended == reason


def test_a_planned_cancellation_ends_with_the_month_and_has_no_grace() -> None:
    end = NOW + 20 * DAY
    assert licence(subscription(ends=end)).expiry == end
    assert licence(subscription(ends=end), now=end).suspended == "ended"
    far = licence(subscription(ends=end + MONTH))
    assert far.expiry == end + GRACE, "there is a renewal before that cancellation"


@pytest.mark.parametrize(
    ("reversal", "reason", "alarm"),
    [
        (Reversal(refunded="fully"), "refunded", None),
        (Reversal(refunded="partly"), None, "partial-refund"),
        (Reversal(dispute="inquiry"), None, None),
        (Reversal(dispute="open"), "disputed", "dispute-open"),
        (Reversal(dispute="won"), None, None),
        (Reversal(dispute="lost"), "disputed", "dispute-lost"),
        (Reversal(refunded="fully", dispute="won"), "refunded", None),
        (Reversal(refunded="partly", dispute="lost"), "disputed", "partial-refund"),
    ],
)
def test_money_that_went_back(reversal: Reversal, reason: str | None, alarm: str | None) -> None:
    for one in (subscription(reversal=reversal), lifetime(reversal)):
        decision = decided(one)
        assert decision.licence is not None
        assert decision.licence.suspended == reason
        told = [raised.code for raised in decision.alarms]
        lost = reversal.refunded == "fully" or reversal.dispute == "lost"
        billed = lost and isinstance(one, Subscription)
        # Whoever lost access for good is charged again next month: a person should know.
        assert ("reversed-still-billed" in told) == billed
        assert [code for code in told if code != "reversed-still-billed"][:1] == (
            [] if alarm is None else [alarm]
        )


def test_a_plan_change_keeps_the_licence() -> None:
    before, after = licence(subscription()), licence(subscription(plan="startup"))
    assert (before.id, before.plan, after.id, after.plan) == (
        (before.id, "developer", before.id, "startup")
    )


def test_a_second_subscription_becomes_a_plan_change_and_ends_the_first() -> None:
    first = subscription(name="sub_1", age=9 * DAY, plan="startup")
    second = subscription(name="sub_2", age=1 * DAY, plan="professional")
    decision = decided(second, first)
    assert decision.licence is not None
    assert (decision.licence.plan, decision.licence.source) == ("professional", "sub_2")
    assert decision.licence.id == licence_id("sub_1"), "the same licence as before"
    assert decision.cancel == ("sub_1",)
    assert decision.alarms == (Alarm("double-purchase", "sub_1"),)
    after = decided(second, replace(first, status="canceled"))
    assert (after.licence, after.cancel, after.alarms) == (decision.licence, (), ())


def test_what_is_owed_on_an_older_subscription_is_not_collected_beside_a_new_one() -> None:
    owed = subscription("unpaid", name="sub_1", age=90 * DAY, through=NOW - 40 * DAY)
    assert decided(owed).cancel == (), "alone it may still be paid"
    assert decided(owed, subscription(name="sub_2", age=DAY)).cancel == ("sub_1",)


@pytest.mark.parametrize(
    ("plan", "chosen", "cancelled"),
    [
        ("developer", "lifetime", True),
        ("professional", "lifetime", True),
        ("startup", "startup", False),
        ("enterprise", "enterprise", False),
    ],
)
def test_lifetime_beside_a_subscription(plan: PlanId, chosen: str, cancelled: bool) -> None:
    decision = decided(lifetime(age=20 * DAY), subscription(plan=plan))
    assert decision.licence is not None
    assert decision.licence.plan == chosen
    assert decision.cancel == (("sub_1",) if cancelled else ())
    ended = licence(lifetime(), subscription("canceled", plan=plan, through=NOW))
    assert (ended.plan, ended.suspended) == ("lifetime", None), "what was bought once is kept"


def test_a_cancelled_subscription_runs_out_before_an_older_one_comes_back() -> None:
    older = subscription(name="sub_1", age=9 * DAY)
    ended = subscription("canceled", name="sub_2", age=DAY, plan="startup")
    decision = decided(older, ended)
    assert decision.licence is not None
    assert (decision.licence.plan, decision.cancel) == ("startup", ())
    assert licence(older, replace(ended, paid_through=NOW)).plan == "developer"
    assert licence(lifetime(), ended).plan == "startup"


def test_a_refunded_second_purchase_gives_the_first_one_back() -> None:
    refunded = Payment("pi_2", "lifetime", "paid", NOW - DAY, Reversal(refunded="fully"))
    found = licence(subscription(), refunded)
    assert (found.plan, found.suspended, found.source) == ("developer", None, "sub_1")


def test_the_id_on_record_is_kept() -> None:
    purchases = bought("cus_1", subscription(name="sub_9"))
    found = decide_fulfilment(purchases, NOW, origin="sub_of_another_customer").licence
    assert found is not None
    assert found.id == licence_id("sub_of_another_customer")


@given(PURCHASES, st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_listed_means_nothing(
    purchases: Purchases, chance: random.Random
) -> None:
    shuffled = Purchases(
        purchases.customer,
        tuple(chance.sample(purchases.subscriptions, len(purchases.subscriptions))),
        tuple(chance.sample(purchases.payments, len(purchases.payments))),
    )
    first, second = decide_fulfilment(purchases, NOW), decide_fulfilment(shuffled, NOW)
    assert (first.licence, first.cancel) == (second.licence, second.cancel)
    assert set(first.alarms) == set(second.alarms)


@settings(max_examples=1000)
@given(PURCHASES)
def test_a_licence_gives_access_only_on_money_that_is_there(purchases: Purchases) -> None:
    found = decide_fulfilment(purchases, NOW).licence
    if found is None:
        return
    everything: list[Subscription | Payment] = [*purchases.subscriptions, *purchases.payments]
    source = next(one for one in everything if one.id == found.source)
    assert source.plan == found.plan
    if found.suspended is None:
        assert not source.reversal.takes_access
        assert found.expiry is None or found.expiry > NOW
        if isinstance(source, Subscription):
            assert source.paid_through is not None
            assert source.paid_through + GRACE > NOW


@settings(max_examples=1000)
@given(PURCHASES)
def test_once_cancelled_nobody_pays_twice_and_the_licence_stays(purchases: Purchases) -> None:
    decision = decide_fulfilment(purchases, NOW)
    after = Purchases(
        purchases.customer,
        tuple(
            replace(one, status="canceled") if one.id in decision.cancel else one
            for one in purchases.subscriptions
        ),
        purchases.payments,
    )
    again = decide_fulfilment(after, NOW)
    assert again.cancel == ()
    if decision.licence is None or decision.licence.suspended is None:
        assert again.licence == decision.licence
    else:
        # The days of grace may go with what was cancelled; there was no access in them.
        assert again.licence is not None
        assert again.licence.suspended is not None
        assert again.licence.id == decision.licence.id
    collecting = {"trialing", "active", "past_due", "unpaid", "paused"}
    left = [one for one in after.subscriptions if one.status in collecting and one.paid_through]
    if decision.licence is not None:
        assert len(left) <= 1, "nor where nothing gives access"
    if decision.licence is not None and decision.licence.suspended is None:
        assert len(left) <= 1
        source = decision.licence.source
        runs_out = any(one.id == source and one not in left for one in after.subscriptions)
        assert runs_out or all(one.id == source for one in left)


@given(PURCHASES, st.integers(0, 90))
def test_time_alone_never_gives_access(purchases: Purchases, days: int) -> None:
    before = decide_fulfilment(purchases, NOW).licence
    after = decide_fulfilment(purchases, NOW + days * DAY).licence
    assert (before is None) == (after is None)
    if before is not None and after is not None:
        assert before.id == after.id
        assert before.suspended is None or after.suspended is not None
