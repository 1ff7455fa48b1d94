"""What is earned, who left, what went back, and whose licence is not as it was paid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sampled_store import NOW, ago

from shimmy_ops.domain.monitoring.accounts import (
    HeldLicence,
    Loss,
    Money,
    Owed,
    Sale,
    StripeLists,
    Subscription,
    read_money,
)
from shimmy_ops.domain.monitoring.licence_drift import compare_accounts, mismatched_customers
from shimmy_ops.domain.monitoring.revenue import (
    Catalogue,
    losses_of,
    revenue_of,
    undecided_disputes,
)

PLANS = ("developer", "startup", "lifetime")
SOLD = Catalogue("usd", (("developer", "D"), ("startup", "S"), ("lifetime", "L")))
DAY = ago(hours=24)


def _subscription(name: str = "1", **changes: Any) -> Subscription:
    made = Subscription(
        f"sub_{name}", f"cus_{name}", "developer", "active", "usd", 1200, ago(days=9), None, True
    )
    return replace(made, **changes)


def _sale(name: str = "9", **changes: Any) -> Sale:
    made = Sale(f"cs_{name}", f"cus_{name}", "lifetime", "usd", 49900, ago(hours=2))
    return replace(made, **changes)


def test_revenue_of_mixed_plans_is_counted_by_month_and_plan() -> None:
    money = Money(
        subscriptions=(
            _subscription("1"),
            _subscription("2", plan="startup", monthly=7900, created=ago(hours=1)),
            _subscription("3", plan="startup", monthly=7900, status="past_due"),
            _subscription("4", status="trialing"),
            _subscription("5", status="canceled", ended=ago(hours=3)),
            _subscription("6", status="canceled", ended=ago(days=4)),
            _subscription("7", status="incomplete_expired", ended=ago(hours=1)),
            _subscription("8", currency="eur", monthly=999),
        ),
        sales=(_sale(), _sale("10", created=ago(days=3)), _sale("11", currency="eur")),
        owed=(Owed("in_1", True, ago(hours=1)), Owed("in_2", False, ago(hours=1))),
    )
    found = revenue_of(money, SOLD, DAY, NOW)
    assert (found.mrr, found.active, found.new, found.cancelled) == (17000, 4, 1, 1)
    # Active when the day began: 1, 3, 4 and 5.
    assert found.churn == 0.25
    assert (found.lifetime_sales, found.lifetime_amount) == (2, 99800)
    assert [(one.plan, one.active, one.mrr, one.sold_once) for one in found.tiers] == [
        ("developer", 2, 1200, 0), ("startup", 2, 15800, 0), ("lifetime", 0, 0, 1),
    ]  # fmt: skip
    assert (found.invoices_open, found.invoices_failed) == (2, 1)
    assert dict(found.statuses)["canceled"] == 2
    assert found.not_counted == ("1 subscriptions in eur", "1 sales in eur")


def test_churn_is_of_those_who_were_there_before() -> None:
    """Two were; one of them left. Whoever came and went in the meantime is no loss of theirs."""
    money = Money(
        subscriptions=(
            _subscription("1"),
            _subscription("2", status="canceled", ended=ago(hours=1)),
            *(
                _subscription(str(n), status="canceled", created=ago(hours=5), ended=ago(hours=4))
                for n in range(3, 9)
            ),
        )
    )
    found = revenue_of(money, SOLD, DAY, NOW)
    assert (found.new, found.cancelled, found.churn) == (6, 7, 0.5)


amounts = st.lists(st.tuples(st.sampled_from(PLANS[:2]), st.integers(0, 10**6)), max_size=20)


@given(amounts)
def test_the_tiers_sum_to_the_whole(each: list[tuple[str, int]]) -> None:
    subscriptions = tuple(
        _subscription(str(n), plan=plan, monthly=amount) for n, (plan, amount) in enumerate(each)
    )
    found = revenue_of(Money(subscriptions), SOLD, DAY, NOW)
    assert found.mrr == sum(amount for _, amount in each) == sum(one.mrr for one in found.tiers)
    assert found.active == len(each)


def test_losses_are_of_the_window_and_open_disputes_of_any_time() -> None:
    def loss(name: str, status: str, created: datetime, currency: str = "usd") -> Loss:
        return Loss(name, currency, 1200, status, created)

    money = Money(
        refunds=(
            loss("re_1", "succeeded", ago(hours=1)),
            loss("re_2", "failed", ago(hours=1)),
            loss("re_3", "succeeded", ago(days=3)),
            loss("re_4", "pending", ago(hours=1), "eur"),
        ),
        disputes=(
            loss("dp_1", "needs_response", ago(days=9)),
            loss("dp_2", "lost", ago(hours=1)),
            loss("dp_3", "warning_needs_response", ago(hours=1)),
        ),
    )
    found = losses_of(money, "usd", DAY, NOW)
    assert (found.refunds, found.refunded, found.disputes, found.disputed) == (1, 1200, 2, 2400)
    assert found.open_disputes == 2
    assert undecided_disputes(money) == ("dp_1", "dp_3")
    assert found.not_counted == ("1 refunds in eur",)


def _price(**changes: Any) -> Mapping[str, Any]:
    return {
        "lookup_key": "developer", "product": "prod_x", "currency": "usd", "unit_amount": 1200,
        "recurring": {"interval": "month", "interval_count": 1}, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("recurring", "quantity", "monthly"),
    [
        ({"interval": "month", "interval_count": 1}, 1, 1200),
        ({"interval": "month", "interval_count": 3}, 1, 400),
        ({"interval": "year", "interval_count": 1}, 2, 200),
        ({"interval": "week", "interval_count": 1}, 1, 5214),
    ],
)
def test_a_subscription_counts_by_the_month_whatever_it_is_billed_by(
    recurring: Mapping[str, Any], quantity: int, monthly: int
) -> None:
    money = read_money(StripeLists([_stripe(_price(recurring=recurring), quantity)]), PLANS)
    assert money.subscriptions[0].monthly == monthly


def _stripe(price: Mapping[str, Any], quantity: int = 1) -> Mapping[str, Any]:
    paid = {"payment": {"payment_intent": "pi_1"}, "status": "paid"}
    return {
        "id": "sub_1", "customer": "cus_1", "status": "active", "created": 0, "ended_at": None,
        "items": {"data": [{"price": price, "quantity": quantity}]},
        "latest_invoice": {"status": "paid", "payments": {"data": [paid]}},
    }  # fmt: skip


def test_a_superseded_price_is_known_by_its_product_and_others_prices_are_not_ours() -> None:
    old = _stripe(_price(lookup_key=None, product="startup"))
    other = _stripe(_price(lookup_key=None, product="prod_other"))
    found = read_money(StripeLists([old, other]), PLANS).subscriptions
    assert [one.plan for one in found] == ["startup"]


@pytest.mark.parametrize(
    ("charge", "dispute", "gone"),
    [
        ({"refunded": False, "amount_refunded": 0}, "", "no"),
        ({"refunded": False, "amount_refunded": 5}, "", "partly"),
        ({"refunded": True, "amount_refunded": 1200}, "", "wholly"),
        ({"refunded": False, "amount_refunded": 0}, "needs_response", "wholly"),
        ({"refunded": False, "amount_refunded": 0}, "won", "no"),
        ({"refunded": False, "amount_refunded": 0}, "warning_needs_response", "no"),
    ],
)
def test_what_went_back_is_found_by_the_invoices_payment(
    charge: Mapping[str, Any], dispute: str, gone: str
) -> None:
    disputed = {"id": "dp_1", "payment_intent": "pi_1", "currency": "usd", "amount": 1,
                "status": dispute, "created": 0}  # fmt: skip
    lists = StripeLists(
        [_stripe(_price())],
        charges=[{**charge, "payment_intent": "pi_1"}],
        disputes=[disputed] if dispute else [],
    )
    assert read_money(lists, PLANS).subscriptions[0].gone == gone


def _licence(customer: str, **changes: Any) -> HeldLicence:
    return replace(HeldLicence(f"lic-{customer}", customer, "developer", True), **changes)


@pytest.mark.parametrize(
    ("money", "licences", "kinds"),
    [
        (Money((_subscription(),)), [_licence("cus_1")], []),
        (Money((_subscription(),)), [], ["paid-without-licence"]),
        (Money((_subscription(),)), [_licence("cus_1", usable=False)], ["paid-without-licence"]),
        (Money(sales=(_sale("1"),)), [_licence("cus_1")], []),
        (Money(sales=(_sale("1", gone="partly"),)), [], ["paid-without-licence"]),
        (Money(sales=(_sale("1", gone="wholly"),)), [], []),
        (
            Money(sales=(_sale("1", gone="wholly"),)),
            [_licence("cus_1")],
            ["licence-without-payment"],
        ),
        (Money(), [_licence("cus_1")], ["licence-without-payment"]),
        (Money(), [_licence("")], ["licence-without-payment"]),
        (Money(), [_licence("", given=True)], []),
        (
            Money((_subscription(),)),
            [_licence("cus_1"), _licence("cus_1", id="lic-2")],
            ["several-licences"],
        ),
        (Money((_subscription(status="canceled"),)), [], []),
        (
            Money((_subscription(status="canceled"),)),
            [_licence("cus_1")],
            ["licence-without-payment"],
        ),
    ],
)
def test_drift_is_payment_without_a_licence_or_a_licence_without_payment(
    money: Money, licences: list[HeldLicence], kinds: list[str]
) -> None:
    assert [one.kind for one in compare_accounts(money, licences).mismatches] == kinds


@pytest.mark.parametrize(
    "state",
    [{"status": "past_due"}, {"paid": False}, {"gone": "wholly"}, {"status": "paused"}],
)
def test_what_may_be_either_way_is_no_drift(state: Mapping[str, Any]) -> None:
    money = Money((_subscription(**state),))
    for licences in ([], [_licence("cus_1")]):
        assert compare_accounts(money, licences).mismatches == ()


def test_a_merged_customers_payment_is_the_other_ones() -> None:
    money = Money(sales=(_sale("old"),))
    licences = [_licence("cus_new")]
    alone = compare_accounts(money, licences)
    assert len(alone.mismatches) == 2
    assert mismatched_customers(alone, licences) == ("cus_new", "cus_old")
    assert compare_accounts(money, licences, {"cus_old": "cus_new"}).mismatches == ()
