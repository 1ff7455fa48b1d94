"""Purchases as Stripe bills them, in ways that a plain month is not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from town import REFUSED_LATER, Town, open_town

from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.purchases import Purchases, Subscription
from shimmy_store.domain.stripe_purchases import StripeObjects, read_purchases

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with open_town(tmp_path / "ledger.sqlite") as opened:
        yield opened


def purchases_of(town: Town, customer: str) -> Purchases:
    async def fetch() -> Purchases:
        async with town.fulfilment() as fulfilment:
            return await fulfilment.payments.fetch(customer)

    return asyncio.run(fetch())


def only(town: Town, customer: str) -> Subscription:
    (found,) = purchases_of(town, customer).subscriptions
    return found


def change(town: Town, subscription: str, price: str, **more: Any) -> None:
    item = town.sdk.v1.subscriptions.retrieve(subscription)["items"].data[0].id
    order = {"items": [{"id": item, "price": price}], "proration_behavior": "always_invoice"}
    town.sdk.v1.subscriptions.update(subscription, {**order, **more})


def paid_for(town: Town, reason: str, customer: str) -> str:
    """The payment of the newest invoice of this reason."""
    listed = town.sdk.v1.invoices.list({"customer": customer, "expand": ["data.payments"]}).data
    invoice = next(one for one in listed if one.billing_reason == reason)
    return str(invoice.payments.data[0].payment.payment_intent)


def test_a_month_that_begins_with_a_resumption_is_a_month(town: Town) -> None:
    customer = town.customer()
    bought = town.buy("startup", customer)
    town.control(f"pause/{bought.subscription}")
    town.pass_time(days=45)
    town.sdk.v1.subscriptions.resume(bought.subscription)
    found = only(town, customer)
    assert found.status == "active"
    assert found.paid_through is not None
    assert found.paid_through > town.now() + timedelta(days=27)
    town.work()
    assert not town.licence(bought.subscription).suspended


def test_a_year_is_what_was_paid_for(town: Town) -> None:
    customer = town.customer()
    bought = town.buy("startup", customer)
    yearly = town.sdk.v1.prices.create(
        {
            "product": "startup",
            "currency": "usd",
            "unit_amount": 79000,
            "recurring": {"interval": "year"},
        }
    )
    town.pass_time(days=10)
    change(town, bought.subscription, yearly.id)
    found = only(town, customer)
    assert found.plan == "startup"
    assert found.paid_through is not None
    assert found.paid_through > town.now() + timedelta(days=360)


@pytest.mark.parametrize(
    ("refunded", "expected"),
    [
        (("subscription_update",), "partly"),
        (("subscription_create",), "partly"),
        (("subscription_create", "subscription_update"), "fully"),
    ],
)
def test_refunds_count_by_everything_paid_for_the_month(
    town: Town, refunded: tuple[str, ...], expected: str
) -> None:
    customer = town.customer()
    bought = town.buy("developer", customer)
    town.pass_time(days=1)
    change(town, bought.subscription, town.prices["enterprise"])
    for reason in refunded:
        intent = paid_for(town, reason, customer)
        town.sdk.v1.refunds.create({"payment_intent": intent})
    found = only(town, customer)
    assert (found.plan, found.reversal.refunded) == ("enterprise", expected)
    assert len(found.reversal.partial) == (1 if expected == "partly" else 0)
    town.work()
    assert town.licence(bought.subscription).suspended == (expected == "fully")
    codes = {one.code for one in town.ask("open_alarms")}
    assert codes == ({"partial-refund"} if expected == "partly" else {"reversed-still-billed"})


def test_a_refund_of_an_earlier_month_takes_nothing_and_is_told(town: Town) -> None:
    customer = town.customer()
    bought = town.buy("developer", customer)
    first = paid_for(town, "subscription_create", customer)
    town.pass_time(days=31, hours=2)
    town.sdk.v1.refunds.create({"payment_intent": first})
    town.work()
    assert not town.licence(bought.subscription).suspended
    assert [one.code for one in town.ask("open_alarms")] == ["partial-refund"]


def test_a_second_refund_is_told_of_again(town: Town) -> None:
    bought = town.buy("lifetime", town.customer())
    for amount in (100, 5000):
        order = {"payment_intent": bought.payment_intent, "amount": amount}
        town.sdk.v1.refunds.create(order)
        town.work()
        (alarm,) = town.ask("open_alarms")
        assert town.ask("acknowledge_alarm", alarm, town.now())
    assert town.ask("open_alarms") == []


def test_a_change_that_nobody_paid_for_gives_nothing_yet(town: Town) -> None:
    customer = town.customer()
    bought = town.buy("developer", customer)
    method = town.sdk.v1.payment_methods.attach(
        "pm_card_chargeCustomerFail", {"customer": customer}
    )
    default = {"default_payment_method": method.id}
    town.sdk.v1.subscriptions.update(bought.subscription, default)
    town.pass_time(days=1)
    change(
        town, bought.subscription, town.prices["enterprise"], payment_behavior="allow_incomplete"
    )
    found = only(town, customer)
    assert (found.plan, found.status) == ("developer", "past_due")
    assert found.owed
    town.work()
    assert town.licence(bought.subscription).plan == "developer"
    assert Alarm("unpaid-change", found.owed) in town.ask("open_alarms")
    good = town.sdk.v1.payment_methods.attach("pm_card_visa", {"customer": customer})
    town.sdk.v1.invoices.pay(found.owed, {"payment_method": good.id})
    town.work()
    assert town.licence(bought.subscription).plan == "enterprise"


def test_no_credit_for_money_that_went_back(town: Town) -> None:
    customer = town.customer()
    town.buy("startup", customer)
    intent = paid_for(town, "subscription_create", customer)
    town.sdk.v1.refunds.create({"payment_intent": intent, "amount": 7800})
    town.pass_time(days=1)
    town.buy("developer", customer)
    town.work()
    assert len(town.sdk.v1.subscriptions.list({"customer": customer}).data) == 1
    assert town.sdk.v1.customers.retrieve(customer).balance == 0


def test_lifetime_beside_a_better_subscription_is_told_what_it_is_for(town: Town) -> None:
    customer = town.customer()
    first = town.buy("startup", customer)
    town.work()
    town.pass_time(days=1)
    second = town.buy("lifetime", customer)
    town.work()
    licence = town.licence(first.subscription)
    assert licence.plan == "startup"
    told = [f"licence/{licence.id}", f"licence/{licence.id}/{second.payment_intent}"]
    assert town.messages(customer) == told


def test_a_declined_card_before_is_no_refund(town: Town) -> None:
    customer = town.customer()
    with pytest.raises(AssertionError, match=r"402|declined"):
        town.buy("lifetime", customer, "4000000000000002")
    town.buy("lifetime", customer)
    (payment, *_) = (one for one in purchases_of(town, customer).payments if one.status == "paid")
    assert payment.reversal.refunded == "nothing"


def objects(**parts: Any) -> StripeObjects:
    nothing: dict[str, Any] = dict.fromkeys(
        ("subscriptions", "invoices", "payment_intents", "charges", "disputes"), ()
    )
    return StripeObjects("cus_1", **{**nothing, **parts})


def test_what_cost_nothing_is_bought_all_the_same() -> None:
    session = {
        "id": "cs_1",
        "mode": "payment",
        "payment_status": "no_payment_required",
        "metadata": {"plan": "lifetime"},
        "created": 1_800_000_000,
    }
    (payment,) = read_purchases(objects(sessions=[session])).payments
    assert (payment.id, payment.plan, payment.status) == ("cs_1", "lifetime", "paid")
    others: list[dict[str, Any]] = [
        {"mode": "subscription"},
        {"payment_status": "paid"},
        {"metadata": {}},
    ]
    for other in others:
        assert read_purchases(objects(sessions=[{**session, **other}])).payments == ()


def test_what_was_added_by_hand_is_no_month(town: Town) -> None:
    """An operator's item for years ahead does not extend a licence by years."""
    customer = town.customer()
    town.buy("developer", customer)
    bought = only(town, customer)
    by_hand = {
        "parent": {
            "type": "invoice_item_details",
            "subscription_item_details": None,
            "invoice_item_details": {"proration": False},
        },
        "period": {"start": 1_800_000_000, "end": 1_990_000_000},
        "pricing": {"price_details": {"price": "price_x", "product": "developer"}},
        "amount": 500,
    }

    async def read() -> Purchases:
        async with town.fulfilment() as fulfilment:
            payments: Any = fulfilment.payments
            whole = payments._port._whole

            async def with_more(invoice: dict[str, Any]) -> dict[str, Any]:
                found = await whole(invoice)
                return {**found, "lines": {"data": [*found["lines"]["data"], by_hand]}}

            payments._port._whole = with_more
            found: Purchases = await fulfilment.payments.fetch(customer)
            return found

    (found,) = asyncio.run(read()).subscriptions
    assert found == bought


def test_a_first_payment_that_fails_buys_nothing(town: Town) -> None:
    customer = town.customer()
    with pytest.raises(AssertionError):
        town.buy("developer", customer, REFUSED_LATER)
    assert purchases_of(town, customer).subscriptions == ()


def test_a_month_is_found_behind_more_lines_than_an_invoice_shows(town: Town) -> None:
    customer = town.customer()
    bought = town.buy("developer", customer)
    for _ in range(4):
        for plan in ("startup", "developer"):
            town.pass_time(hours=3)
            change(
                town,
                bought.subscription,
                town.prices[plan],
                proration_behavior="create_prorations",
            )
    before = only(town, customer).paid_through
    town.pass_time(days=31)
    newest = town.sdk.v1.invoices.list({"customer": customer}).data[0]
    assert newest.lines.has_more, "or this proves nothing"
    found = only(town, customer)
    assert before is not None
    assert found.paid_through is not None
    assert found.paid_through > before + timedelta(days=27)


def test_a_plan_beside_something_else_is_that_plan(town: Town) -> None:
    customer = town.customer()
    bought = town.buy("startup", customer)
    product = town.sdk.v1.products.create({"name": "Support"})
    support = town.sdk.v1.prices.create(
        {
            "product": product.id,
            "currency": "usd",
            "unit_amount": 5000,
            "recurring": {"interval": "month"},
        }
    )
    order = {"items": [{"price": support.id}], "proration_behavior": "always_invoice"}
    town.sdk.v1.subscriptions.update(bought.subscription, order)
    town.pass_time(days=32)
    found = only(town, customer)
    assert (found.plan, found.several) == ("startup", False)
    assert found.paid_through is not None
    assert found.paid_through > town.now()
    more = {"items": [{"price": town.prices["developer"]}], "proration_behavior": "none"}
    town.sdk.v1.subscriptions.update(bought.subscription, more)
    town.work()
    assert town.licence(bought.subscription).plan == "startup"
    assert Alarm("several-plans", bought.subscription) in town.ask("open_alarms")


def test_a_gift_is_a_licence(town: Town) -> None:
    gift = town.sdk.v1.prices.create(
        {"product": "lifetime", "currency": "usd", "unit_amount": 0, "lookup_key": "gift"}
    )
    session = town.sdk.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "customer": town.customer(),
            "line_items": [{"price": gift.id, "quantity": 1}],
            "metadata": {"plan": "lifetime"},
            "success_url": "http://127.0.0.1:9/thanks",
        }
    )
    done = town.browser.post(session.url, data={"email": "b@example.com", "name": "Ada"})
    assert done.status_code == 303, done.text
    assert town.sdk.v1.checkout.sessions.retrieve(session.id).payment_status == (
        "no_payment_required"
    )
    town.work()
    licence = town.licence(session.id)
    assert (licence.plan, licence.suspended, licence.expiry) == ("lifetime", False, None)


def test_a_month_that_was_never_paid_is_not_credited(town: Town) -> None:
    customer = town.customer()
    bought = town.buy("developer", customer)
    bad = town.sdk.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer})
    town.sdk.v1.subscriptions.update(bought.subscription, {"default_payment_method": bad.id})
    town.pass_time(days=31, hours=2)
    assert town.sdk.v1.subscriptions.retrieve(bought.subscription).status == "past_due"
    town.buy("startup", customer)
    town.work()
    assert town.sdk.v1.subscriptions.retrieve(bought.subscription).status == "canceled"
    assert town.sdk.v1.customers.retrieve(customer).balance == 0
    assert town.licence(bought.subscription).plan == "startup"
