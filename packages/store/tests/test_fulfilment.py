"""Which licence follows from what a customer has bought: every rule, and what always holds."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_store.domain.catalog import PLAN_IDS, PlanId
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

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEPT = Reversal()
DAY, MONTH, TICK = timedelta(days=1), timedelta(days=30), timedelta(microseconds=1)


def subscription(
    status: SubscriptionStatus = "active",
    *,
    plan: PlanId = "developer",
    name: str = "sub_1",
    age: timedelta = 10 * DAY,
    through: datetime | None = NOW + 20 * DAY,
    ends: datetime | None = None,
    reversal: Reversal = KEPT,
) -> Subscription:
    start = None if through is None else through - MONTH
    return Subscription(name, plan, status, NOW - age, start, through, ends, reversal)


def lifetime(reversal: Reversal = KEPT, age: timedelta = 10 * DAY) -> Payment:
    return Payment("pi_1", "lifetime", "paid", NOW - age, reversal)


def decided(*bought: Subscription | Payment, now: datetime = NOW) -> Decision:
    return decide_fulfilment(_purchases(*bought), now)


def licence(*bought: Subscription | Payment, now: datetime = NOW) -> Licence:
    found = decided(*bought, now=now).licence
    assert found is not None
    return found


def _purchases(*bought: Subscription | Payment) -> Purchases:
    return Purchases(
        "cus_1",
        tuple(one for one in bought if isinstance(one, Subscription)),
        tuple(one for one in bought if isinstance(one, Payment)),
    )


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
    for bought in (subscription(reversal=reversal), lifetime(reversal)):
        decision = decided(bought)
        assert decision.licence is not None
        assert decision.licence.suspended == reason
        expected = [] if alarm is None else [alarm]
        assert [one.code for one in decision.alarms][:1] == expected


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
    purchases = _purchases(subscription(name="sub_9"))
    found = decide_fulfilment(purchases, NOW, origin="sub_of_another_customer").licence
    assert found is not None
    assert found.id == licence_id("sub_of_another_customer")


MOMENTS = st.integers(-90, 60).map(lambda days: NOW + days * DAY)
REVERSALS = st.builds(
    Reversal,
    st.sampled_from(["nothing", "nothing", "nothing", "partly", "fully"]),
    st.sampled_from(["none", "none", "none", "inquiry", "open", "won", "lost"]),
)
SUBSCRIPTIONS = st.builds(
    lambda number, status, plan, created, through, ends, reversal: Subscription(
        f"sub_{number}",
        plan,
        status,
        created,
        None if through is None else through - MONTH,
        through,
        ends,
        reversal,
    ),
    st.integers(0, 30),
    st.sampled_from(
        ["incomplete", "trialing", "active", "active", "past_due", "canceled", "unpaid", "paused"]
    ),
    st.sampled_from([one for one in PLAN_IDS if one != "lifetime"]),
    MOMENTS,
    st.none() | MOMENTS,
    st.none() | MOMENTS,
    REVERSALS,
)
PAYMENTS = st.builds(
    lambda number, status, created, reversal: Payment(
        f"pi_{number}", "lifetime", status, created, reversal
    ),
    st.integers(0, 30),
    st.sampled_from(["paid", "paid", "processing", "failed"]),
    MOMENTS,
    REVERSALS,
)
PURCHASES = st.builds(
    lambda subscriptions, payments: Purchases("cus_1", tuple(subscriptions), tuple(payments)),
    st.lists(SUBSCRIPTIONS, max_size=4, unique_by=lambda one: one.id),
    st.lists(PAYMENTS, max_size=2, unique_by=lambda one: one.id),
)


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
    bought: list[Subscription | Payment] = [*purchases.subscriptions, *purchases.payments]
    source = next(one for one in bought if one.id == found.source)
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
    assert again.licence == decision.licence
    collecting = {"trialing", "active", "past_due", "unpaid", "paused"}
    left = [one for one in after.subscriptions if one.status in collecting]
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
