"""Two customers made one: whose licence stays, what ends, and what nobody loses by it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from purchases_made import (
    DAY,
    KEPT,
    NOW,
    bought,
    lifetime,
    purchases_of,
    subscription,
)

from shimmy_store.domain.catalog import rank
from shimmy_store.domain.fulfilment import (
    COLLECTING,
    Alarm,
    Decision,
    Licence,
    decide_fulfilment,
    licence_id,
)
from shimmy_store.domain.merging import Merge, Side, plan_merge
from shimmy_store.domain.purchases import (
    Payment,
    Purchases,
    Reversal,
    Subscription,
    combine_purchases,
)

REFUNDED = Reversal(refunded="fully")


def side(customer: str, *parts: Subscription | Payment) -> Side:
    """A customer whose licence was made before."""
    return settled(bought(customer, *parts))


def settled(purchases: Purchases) -> Side:
    return Side(purchases, decide_fulfilment(purchases, NOW).origin)


def held(one: Side) -> Licence:
    found = decide_fulfilment(one.purchases, NOW, one.origin).licence
    assert found is not None
    return found


def planned(first: Side, second: Side) -> Merge:
    plan = plan_merge(first, second, NOW)
    assert isinstance(plan, Merge)
    return plan


def after(plan: Merge, first: Side, second: Side) -> tuple[Purchases, Side]:
    """What the keeper's licence stands for from then on, as fulfilment reads it."""
    keeper, loser = sorted((first, second), key=lambda one: one.purchases.customer == plan.loser)
    lost = replace(loser.purchases, given_up=loser.purchases.given_up.union(plan.given_up))
    return combine_purchases(keeper.purchases, [lost]), keeper


def merged(first: Side, second: Side) -> Decision:
    combined, keeper = after(planned(first, second), first, second)
    return decide_fulfilment(combined, NOW, keeper.origin)


def carried_out(purchases: Purchases, decision: Decision) -> Purchases:
    return replace(
        purchases,
        subscriptions=tuple(
            replace(one, status="canceled") if one.id in decision.cancel else one
            for one in purchases.subscriptions
        ),
    )


def test_the_higher_plan_stays_and_the_other_subscription_ends() -> None:
    low = side("cus_1", subscription(name="sub_1", age=50 * DAY))
    high = side("cus_2", subscription(name="sub_2", plan="startup"))
    assert planned(low, high) == Merge("cus_2", "cus_1", ("sub_1",))
    decision = merged(low, high)
    assert decision.licence is not None
    assert (decision.licence.plan, decision.licence.id) == ("startup", licence_id("sub_2"))
    assert decision.cancel == ("sub_1",)
    assert decision.alarms == (Alarm("merge-credit", "sub_1"),)


@pytest.mark.parametrize("ages", [(50, 10), (10, 50)])
def test_of_equal_plans_the_older_licence_stays(ages: tuple[int, int]) -> None:
    first, second = (
        side(f"cus_{number}", subscription(name=f"sub_{number}", age=age * DAY))
        for number, age in enumerate(ages)
    )
    assert planned(first, second).keeper == ("cus_0" if ages[0] > ages[1] else "cus_1")


def test_a_licence_is_as_old_as_what_was_first_paid() -> None:
    """Tries that came to nothing gave no licence."""
    tries = (
        replace(lifetime(age=90 * DAY), status="failed"),
        subscription("incomplete_expired", name="sub_0", age=80 * DAY, through=None),
    )
    first = side("cus_1", *tries, subscription(name="sub_1", age=5 * DAY))
    second = side("cus_2", subscription(name="sub_2", age=20 * DAY))
    assert planned(first, second).keeper == "cus_2"


@pytest.mark.parametrize(
    "lost",
    [
        subscription(name="sub_9", plan="enterprise", age=80 * DAY, reversal=REFUNDED),
        subscription("past_due", name="sub_9", plan="enterprise", through=NOW - 4 * DAY),
        subscription("canceled", name="sub_9", plan="enterprise", through=NOW),
        lifetime(Reversal(dispute="open"), age=80 * DAY),
    ],
)
def test_a_suspended_licence_never_stays_beside_a_usable_one(lost: Subscription | Payment) -> None:
    suspended, usable = side("cus_1", lost), side("cus_2", subscription())
    assert held(suspended).suspended is not None
    assert planned(suspended, usable).keeper == "cus_2"
    decision = merged(suspended, usable)
    assert decision.licence is not None
    assert (decision.licence.suspended, decision.licence.plan) == (None, "developer")


def test_of_two_suspended_licences_the_higher_one_stays() -> None:
    first = side("cus_1", subscription(name="sub_1", reversal=REFUNDED, age=90 * DAY))
    second = side("cus_2", subscription(name="sub_2", plan="startup", reversal=REFUNDED))
    assert planned(first, second).keeper == "cus_2"
    decision = merged(first, second)
    assert decision.licence is not None
    assert decision.licence.suspended == "refunded"


@pytest.mark.parametrize("owner", ["keeper", "loser"])
def test_what_was_bought_once_comes_back_when_the_subscription_ends(owner: str) -> None:
    once = replace(lifetime(), id="pi_9")
    running = subscription(name="sub_1", plan="startup")
    keeper = side("cus_1", running, *((once,) if owner == "keeper" else ()))
    loser = side("cus_2", subscription(name="sub_2"), *((once,) if owner == "loser" else ()))
    plan = planned(keeper, loser)
    assert plan == Merge("cus_1", "cus_2", ("sub_2",)), "a payment is never given up"
    combined, kept = after(plan, keeper, loser)
    now = decide_fulfilment(combined, NOW, kept.origin).licence
    ended = replace(
        combined,
        subscriptions=tuple(
            replace(one, status="canceled", paid_through=NOW) for one in combined.subscriptions
        ),
    )
    later = decide_fulfilment(ended, NOW, kept.origin).licence
    assert now is not None and later is not None
    assert (now.plan, later.plan, later.suspended, later.expiry) == (
        ("startup", "lifetime", None, None)
    )
    assert now.id == later.id


def test_lifetime_beside_a_lower_subscription_ends_both_subscriptions() -> None:
    keeper = side("cus_1", lifetime())
    loser = side("cus_2", subscription(name="sub_2", plan="professional"))
    decision = merged(keeper, loser)
    assert decision.licence is not None
    assert (decision.licence.plan, decision.cancel) == ("lifetime", ("sub_2",))
    assert decision.alarms == (Alarm("merge-credit", "sub_2"),)


def test_the_losers_newest_subscription_that_runs_out_takes_nobodys_place() -> None:
    keeper = side("cus_1", subscription(name="sub_1", plan="startup", age=40 * DAY))
    ending = subscription("canceled", name="sub_2", age=DAY)
    decision = merged(keeper, side("cus_2", ending))
    assert decision.licence is not None
    assert (decision.licence.plan, decision.cancel, decision.alarms) == ("startup", (), ())


def test_given_up_subscriptions_are_cancelled_once_and_give_nothing_again() -> None:
    keeper = side("cus_1", subscription(name="sub_1", plan="startup"))
    loser = side("cus_2", subscription(name="sub_2", through=NOW + 90 * DAY))
    combined, kept = after(planned(keeper, loser), keeper, loser)
    first = decide_fulfilment(combined, NOW, kept.origin)
    done = carried_out(combined, first)
    second = decide_fulfilment(done, NOW, kept.origin)
    assert (first.cancel, second.cancel, second.alarms) == (("sub_2",), (), ())
    assert second.licence == first.licence
    over = decide_fulfilment(done, NOW + 60 * DAY, kept.origin).licence
    assert over is not None
    assert (over.source, over.suspended) == ("sub_1", "ended")


def test_given_up_subscriptions_alone_are_no_licence_and_still_end() -> None:
    alone = replace(bought("cus_1", subscription()), given_up=frozenset({"sub_1"}))
    assert decide_fulfilment(alone, NOW) == Decision(
        None, ("sub_1",), (Alarm("merge-credit", "sub_1"),)
    )


def test_what_a_customer_buys_after_the_merge_counts() -> None:
    keeper, loser = side("cus_1", subscription(name="sub_1")), side("cus_2", lifetime(REFUNDED))
    combined, kept = after(planned(keeper, loser), keeper, loser)
    again = subscription(name="sub_new", plan="startup", age=0 * DAY)
    more = replace(combined, subscriptions=(*combined.subscriptions, again))
    decision = decide_fulfilment(more, NOW, kept.origin)
    assert decision.licence is not None
    assert (decision.licence.plan, decision.cancel) == ("startup", ("sub_1",))
    assert decision.alarms[:1] == (Alarm("double-purchase", "sub_1"),)


def test_one_customer_is_not_two_and_nothing_paid_is_nothing_to_merge() -> None:
    one, empty = side("cus_1", subscription()), side("cus_2")
    assert plan_merge(one, one, NOW) == "same-customer"
    assert plan_merge(one, empty, NOW) == plan_merge(empty, one, NOW) == "no-licence"


def test_combined_purchases_are_the_keepers_with_everything_of_the_others() -> None:
    own = replace(bought("cus_1", subscription(reversal=KEPT)), email="a@example.com")
    other = replace(
        bought("cus_2", subscription(name="sub_2"), lifetime()),
        email="b@example.com",
        given_up=frozenset({"sub_2"}),
    )
    third = replace(bought("cus_3", subscription(name="sub_3")), given_up=frozenset({"sub_3"}))
    both = combine_purchases(own, [other, third])
    assert (both.customer, both.email) == ("cus_1", "a@example.com")
    assert [one.id for one in both.subscriptions] == ["sub_1", "sub_2", "sub_3"]
    assert [one.id for one in both.payments] == ["pi_1"]
    assert both.given_up == {"sub_2", "sub_3"}
    assert combine_purchases(own, []) == own


@st.composite
def sides(draw: st.DrawFn, customer: str) -> Side:
    """A customer, perhaps one into whom another one was merged before."""
    purchases = draw(purchases_of(customer))
    names = [one.id for one in purchases.subscriptions]
    given_up = draw(st.just([]) | st.lists(st.sampled_from(names), max_size=2)) if names else []
    return settled(replace(purchases, given_up=frozenset(given_up)))


PAIRS = st.tuples(sides("cus_1"), sides("cus_2"))


@settings(max_examples=500)
@given(PAIRS)
def test_the_order_of_the_two_does_not_matter(pair: tuple[Side, Side]) -> None:
    first, second = pair
    assert plan_merge(first, second, NOW) == plan_merge(second, first, NOW)


@settings(max_examples=1000)
@given(PAIRS)
def test_nobody_loses_by_a_merge(pair: tuple[Side, Side]) -> None:
    plan = plan_merge(*pair, NOW)
    if not isinstance(plan, Merge):
        return
    combined, keeper = after(plan, *pair)
    licence = decide_fulfilment(combined, NOW, keeper.origin).licence
    assert licence is not None
    assert licence.id == held(keeper).id
    usable = [rank(held(one).plan) for one in pair if held(one).suspended is None]
    if usable:
        assert licence.suspended is None
        assert rank(licence.plan) >= max(usable)


@settings(max_examples=1000)
@given(PAIRS)
def test_after_a_merge_at_most_one_subscription_collects(pair: tuple[Side, Side]) -> None:
    plan = plan_merge(*pair, NOW)
    if not isinstance(plan, Merge):
        return
    combined, keeper = after(plan, *pair)
    decision = decide_fulfilment(combined, NOW, keeper.origin)
    running = [one for one in combined.subscriptions if one.status in COLLECTING]
    collecting = {one.id for one in running if one.paid_through or one.id in combined.given_up}
    ended = combined.given_up & collecting
    assert max(Counter(decision.cancel).values(), default=1) == 1
    assert ended <= set(decision.cancel) <= collecting
    raised = {
        code: {one.subject for one in decision.alarms if one.code == code} & collecting
        for code in ("merge-credit", "double-purchase")
    }
    assert raised == {
        "merge-credit": ended - decision.uncredited,
        "double-purchase": set(decision.cancel) - ended,
    }
    assert decision.licence is not None
    assert decision.licence.source not in combined.given_up
    left = collecting - set(decision.cancel)
    assert not left & combined.given_up
    assert len(left) <= 1
    again = decide_fulfilment(carried_out(combined, decision), NOW, keeper.origin)
    assert again.cancel == ()
    if decision.licence.suspended is None:
        assert again.licence == decision.licence
    assert not any(one.code in raised and one.subject in collecting for one in again.alarms)
