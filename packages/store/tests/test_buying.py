"""What may be sold, and where a buyer goes who has bought before."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from purchases_made import DAY, NOW, PURCHASES, bought, lifetime, subscription

from shimmy_store.adapters.contract_files import read_plans
from shimmy_store.domain.buying import PriceVerdict, ToPortal, check_price, decide_way
from shimmy_store.domain.catalog import PLAN_IDS, PlanId, parse_catalog, rank
from shimmy_store.domain.purchases import (
    Payment,
    Purchases,
    Reversal,
    Subscription,
    SubscriptionStatus,
)
from shimmy_store.ports.checkout import Price

PLAN = parse_catalog(read_plans()).plan("startup")
PRICE = Price("price_1", PLAN.unit_amount, "usd", PLAN.interval, livemode=False)
MONTHLY: list[PlanId] = [one for one in PLAN_IDS if one != "lifetime"]
RUNNING: list[SubscriptionStatus] = ["trialing", "active", "past_due", "unpaid", "paused"]


def way(plan: PlanId, *parts: Subscription | Payment) -> object:
    return decide_way(plan, bought("cus_1", *parts))


@pytest.mark.parametrize("livemode", [False, True])
@pytest.mark.parametrize(
    ("price", "verdict"),
    [
        (PRICE, "fine"),
        (None, "missing"),
        (replace(PRICE, livemode=True), "wrong-mode"),
        (replace(PRICE, livemode=True, unit_amount=1), "wrong-mode"),
        (replace(PRICE, unit_amount=PLAN.unit_amount + 1), "differs"),
        (replace(PRICE, unit_amount=PLAN.unit_amount - 1), "differs"),
        (replace(PRICE, unit_amount=0), "differs"),
        (replace(PRICE, currency="eur"), "differs"),
        (replace(PRICE, currency="USD"), "differs"),
        (replace(PRICE, interval="week"), "differs"),
        (replace(PRICE, interval="12 month"), "differs"),
        (replace(PRICE, interval="once"), "differs"),
    ],
)
def test_only_the_catalogs_price_in_our_mode_is_sold(
    price: Price | None, verdict: PriceVerdict, livemode: bool
) -> None:
    turned = None if price is None else replace(price, livemode=price.livemode != livemode)
    assert check_price(PLAN, "usd", turned, livemode=livemode) == verdict


@pytest.mark.parametrize("plan", MONTHLY)
@pytest.mark.parametrize("status", RUNNING)
def test_a_running_subscription_is_changed_in_the_portal(
    status: SubscriptionStatus, plan: PlanId
) -> None:
    """One that owes money is put in order there first."""
    sound = status in ("trialing", "active")
    assert way(plan, subscription(status)) == ToPortal("sub_1", confirms=sound)
    ending = subscription(status, ends=NOW + 20 * DAY)
    assert way(plan, ending) == ToPortal("sub_1", confirms=False)


@pytest.mark.parametrize("status", ["incomplete", "incomplete_expired", "canceled"])
def test_what_does_not_run_is_no_reason_not_to_sell(status: SubscriptionStatus) -> None:
    for through in (None, NOW + 20 * DAY):
        assert way("developer", subscription(status, through=through)) == "checkout"
    running = subscription(name="sub_2", age=90 * DAY)
    assert way("developer", subscription(status), running) == ToPortal("sub_2", confirms=True)


@pytest.mark.parametrize("plan", PLAN_IDS)
def test_whoever_has_bought_nothing_pays(plan: PlanId) -> None:
    assert way(plan) == "checkout"


def test_the_newest_running_subscription_is_the_one_to_change() -> None:
    older = subscription(name="sub_9", age=9 * DAY)
    newer = subscription("past_due", name="sub_1", age=1 * DAY)
    assert way("startup", older, newer) == way("startup", newer, older)
    assert way("startup", older, newer) == ToPortal("sub_1", confirms=False)
    twin = replace(older, id="sub_8")
    assert way("startup", twin, older) == way("startup", older, twin)


@pytest.mark.parametrize(
    ("reversal", "place"),
    [
        (Reversal(), "licence"),
        (Reversal(refunded="partly"), "licence"),
        (Reversal(dispute="inquiry"), "licence"),
        (Reversal(dispute="won"), "licence"),
        (Reversal(refunded="fully"), "checkout"),
        (Reversal(dispute="open"), "checkout"),
        (Reversal(dispute="lost"), "checkout"),
    ],
)
def test_lifetime_is_bought_once_while_it_is_ones_own(reversal: Reversal, place: str) -> None:
    assert way("lifetime", lifetime(reversal)) == place
    assert way("lifetime", lifetime(reversal), subscription()) == place
    again = replace(lifetime(), id="pi_2")
    assert way("lifetime", lifetime(reversal), again) == "licence"


def test_a_payment_that_failed_bought_nothing() -> None:
    assert way("lifetime", replace(lifetime(), status="failed")) == "checkout"


def test_lifetime_is_sold_beside_a_subscription_and_a_subscription_beside_lifetime() -> None:
    assert way("lifetime", subscription(age=timedelta(0))) == "checkout"
    assert way("enterprise", lifetime()) == "checkout"


def test_nothing_is_sold_to_whom_a_plan_bought_once_serves_better() -> None:
    """It would be cancelled as soon as it was paid, with a credit that buys nothing."""
    weaker: tuple[PlanId, ...] = ("developer", "professional")
    for plan in weaker:
        assert way(plan, lifetime()) == "licence"
        assert way(plan, lifetime(Reversal(refunded="fully"))) == "checkout"


@given(PURCHASES, st.sampled_from(MONTHLY))
def test_nobody_with_a_running_subscription_is_sold_a_second_one(
    purchases: Purchases, plan: PlanId
) -> None:
    running = {one.id for one in purchases.subscriptions if one.status in RUNNING}
    found = decide_way(plan, purchases)
    if isinstance(found, ToPortal):
        assert found.subscription in running
    elif found == "licence":
        kept = [one for one in purchases.payments if one.status != "failed"]
        assert any(rank(one.plan) >= rank(plan) and not one.reversal.takes_access for one in kept)
    else:
        assert (found, running) == ("checkout", set())
