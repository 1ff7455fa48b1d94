"""Changes that are not paid, credits that are not earned, mails that must not be lost in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from town import Town, open_town

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with open_town(tmp_path / "ledger.sqlite") as opened:
        yield opened


def use_card(town: Town, customer: str, subscription: str, card: str) -> str:
    method = town.sdk.v1.payment_methods.attach(card, {"customer": customer})
    town.sdk.v1.subscriptions.update(subscription, {"default_payment_method": method.id})
    return str(method.id)


def upgrade(town: Town, subscription: str, plan: str, behavior: str = "always_invoice") -> None:
    item = town.sdk.v1.subscriptions.retrieve(subscription)["items"].data[0].id
    order = {
        "items": [{"id": item, "price": town.prices[plan]}],
        "proration_behavior": behavior,
        "payment_behavior": "allow_incomplete",
    }
    town.sdk.v1.subscriptions.update(subscription, order)


def balance(town: Town, customer: str) -> int:
    return int(town.sdk.v1.customers.retrieve(customer).balance)


@pytest.mark.parametrize("plan", ["developer", "lifetime"])
def test_no_credit_for_an_upgrade_that_was_never_paid(town: Town, plan: str) -> None:
    customer = town.customer()
    first = town.buy("developer", customer)
    use_card(town, customer, first.subscription, "pm_card_chargeCustomerFail")
    upgrade(town, first.subscription, "enterprise")
    town.pass_time(days=1)
    town.buy(plan, customer)
    town.work()
    assert town.sdk.v1.subscriptions.retrieve(first.subscription).status == "canceled"
    assert balance(town, customer) >= 0, "nobody gets back what they never paid"


def test_a_refund_long_ago_does_not_cost_the_credit_of_today(town: Town) -> None:
    customer = town.customer()
    first = town.buy("startup", customer)
    charge = town.sdk.v1.charges.list({"customer": customer}).data[0]
    town.sdk.v1.refunds.create({"charge": charge.id, "amount": 100})
    town.pass_time(days=32)
    town.buy("enterprise", customer)
    town.work()
    assert town.sdk.v1.subscriptions.retrieve(first.subscription).status == "canceled"
    assert balance(town, customer) < -7000


@pytest.mark.parametrize("behavior", ["none", "create_prorations"])
def test_a_better_plan_is_given_when_it_is_billed(town: Town, behavior: str) -> None:
    customer = town.customer()
    bought = town.buy("developer", customer)
    upgrade(town, bought.subscription, "enterprise", behavior)
    town.work()
    assert town.licence(bought.subscription).plan == "developer"
    town.pass_time(days=31, hours=2)
    town.work()
    assert town.licence(bought.subscription).plan == "enterprise"
    upgrade(town, bought.subscription, "professional", behavior)
    town.work()
    assert town.licence(bought.subscription).plan == "professional", "a lesser one at once"


def test_a_renewal_that_fails_is_told_of_also_after_a_change_that_failed(town: Town) -> None:
    customer = town.customer()
    bought = town.buy("developer", customer)
    town.work()
    use_card(town, customer, bought.subscription, "pm_card_chargeCustomerFail")
    upgrade(town, bought.subscription, "enterprise")
    town.work()
    assert not [one for one in town.messages(customer) if one.startswith("renewal-failed")]
    good = use_card(town, customer, bought.subscription, "pm_card_visa")
    (owed,) = town.sdk.v1.invoices.list({"customer": customer, "status": "open"}).data
    town.sdk.v1.invoices.pay(owed.id, {"payment_method": good})
    use_card(town, customer, bought.subscription, "pm_card_chargeCustomerFail")
    town.pass_time(days=31, hours=2)
    town.work()
    assert [one for one in town.messages(customer) if one.startswith("renewal-failed")]


def test_whoever_comes_back_is_mailed_again(town: Town) -> None:
    customer = town.customer()
    first = town.buy("developer", customer)
    town.work()
    town.sdk.v1.subscriptions.cancel(first.subscription)
    town.pass_time(days=60)
    town.work()
    assert town.licence(first.subscription).suspended
    again = town.buy("developer", customer)
    town.work()
    licence = town.licence(first.subscription)
    assert not licence.suspended
    assert f"licence/{licence.id}/{again.subscription}" in town.messages(customer)
    assert town.count_licences() == 1


def test_a_year_that_was_refunded_is_not_used(town: Town) -> None:
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
    town.pass_time(days=3)
    item = town.sdk.v1.subscriptions.retrieve(bought.subscription)["items"].data[0].id
    order = {"items": [{"id": item, "price": yearly.id}], "proration_behavior": "always_invoice"}
    town.sdk.v1.subscriptions.update(bought.subscription, order)
    charge = town.sdk.v1.charges.list({"customer": customer}).data[0]
    town.sdk.v1.refunds.create({"charge": charge.id})
    town.work()
    assert town.licence(bought.subscription).suspended
