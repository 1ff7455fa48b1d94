"""Another plan: through the API and through the portal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import stripe

from .conftest import Shop, unix
from .test_renewals import put_failing_card, shop_now


@dataclass
class Plans:
    """Three plans on offer and a subscription to the middle one, half of whose period is over."""

    small: Any
    middle: Any
    big: Any
    subscription: Any

    @property
    def item(self) -> str:
        return str(self.subscription["items"].data[0].id)


@pytest.fixture
def plans(shop: Shop) -> Plans:
    small, middle, big = (shop.price(amount) for amount in (1200, 2900, 7900))
    subscription = shop.subscribe(middle)
    shop.advance(days=14)
    return Plans(small, middle, big, subscription)


def update(shop: Shop, plans: Plans, price: Any, behaviour: str, **more: Any) -> Any:
    asked = {"items": [{"id": plans.item, "price": price.id}], "proration_behavior": behaviour}
    return shop.v1.subscriptions.update(plans.subscription.id, {**asked, **more})


def test_an_upgrade_is_invoiced_at_once(shop: Shop, plans: Plans) -> None:
    before = len(shop.types())
    changed = update(shop, plans, plans.big, "always_invoice", expand=["latest_invoice"])
    invoice = changed.latest_invoice
    assert [line.amount for line in invoice.lines.data] == [-1450, 3950]
    assert (invoice.total, invoice.status) == (2500, "paid")
    assert invoice.billing_reason == "subscription_update"
    assert all(line.parent.subscription_item_details.proration for line in invoice.lines.data)
    assert changed["items"].data[0].id == plans.item
    assert changed["items"].data[0].current_period_end == (
        plans.subscription["items"].data[0].current_period_end
    )
    assert shop.types(before)[:3] == [
        "invoice.created", "customer.subscription.updated", "invoice.finalized",
    ]  # fmt: skip
    shop.advance(days=14, hours=1)
    assert shop.v1.invoices.list({"subscription": changed.id}).data[0].total == 7900


def test_prorations_wait_for_the_next_invoice(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "create_prorations")
    assert len(shop.v1.invoices.list().data) == 1
    upcoming = shop.v1.invoices.create_preview({"subscription": plans.subscription.id})
    assert upcoming.total == 2500 + 7900
    shop.advance(days=14, hours=1)
    renewal = shop.v1.invoices.list().data[0]
    assert [line.amount for line in renewal.lines.data] == [-1450, 3950, 7900]
    assert renewal.status == "paid"


def test_without_proration_only_the_next_period_costs_more(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "none")
    shop.advance(days=14, hours=1)
    assert [one.total for one in shop.v1.invoices.list().data] == [7900, 2900]


def test_a_downgrade_leaves_credit(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.small, "always_invoice")
    customer = shop.v1.customers.retrieve(plans.subscription.customer)
    assert customer.balance == -850
    assert shop.v1.invoices.list().data[0].amount_due == 0
    shop.advance(days=14, hours=1)
    renewal = shop.v1.invoices.list().data[0]
    assert (renewal.total, renewal.amount_due, renewal.starting_balance) == (1200, 350, -850)
    assert shop.v1.customers.retrieve(customer.id).balance == 0


def test_cancelling_with_proration_leaves_credit_for_what_was_not_used(
    shop: Shop, plans: Plans
) -> None:
    before = len(shop.types())
    wish = {"prorate": True, "invoice_now": True}
    ended = shop.v1.subscriptions.cancel(plans.subscription.id, wish)
    assert ended.status == "canceled"
    last = shop.v1.invoices.list().data[0]
    assert (last.total, last.amount_due, last.status) == (-1450, 0, "paid")
    assert last.parent.subscription_details.subscription == ended.id
    assert shop.v1.customers.retrieve(plans.subscription.customer).balance == -1450
    assert shop.types(before)[-1] == "customer.subscription.deleted"
    with pytest.raises(stripe.InvalidRequestError):
        shop.v1.subscriptions.cancel(plans.subscription.id, wish)


def lines_of(invoice: Any) -> list[int]:
    return [line.amount for line in invoice.lines.data]


def test_what_was_not_used_waits_for_the_customers_next_invoice(shop: Shop, plans: Plans) -> None:
    customer = plans.subscription.customer
    shop.v1.subscriptions.cancel(plans.subscription.id, {"prorate": True})
    assert len(shop.v1.invoices.list().data) == 1
    assert shop.v1.customers.retrieve(customer).balance == 0
    other = shop.subscribe(plans.big, customer=customer)
    first = shop.v1.invoices.retrieve(other.latest_invoice, {"expand": ["payments"]})
    assert (lines_of(first), first.total, first.amount_paid) == ([-1450, 7900], 6450, 6450)
    taken = shop.v1.payment_intents.retrieve(first.payments.data[0].payment.payment_intent)
    assert (taken.amount_received, taken.status) == (6450, "succeeded")
    gone, own = first.lines.data
    assert gone.parent.subscription_item_details.subscription == plans.subscription.id
    assert (gone.subscription, own.subscription) == (plans.subscription.id, other.id)
    shop.advance(days=31, hours=1)
    assert lines_of(shop.v1.invoices.list().data[0]) == [7900]


def test_it_joins_the_renewal_of_another_subscription(shop: Shop, plans: Plans) -> None:
    customer = plans.subscription.customer
    other = shop.subscribe(plans.small, customer=customer)
    update(shop, plans, plans.big, "create_prorations")
    shop.v1.subscriptions.cancel(plans.subscription.id, {"prorate": True})
    euros = shop.subscribe(shop.price(500, currency="eur"), customer=customer)
    assert lines_of(shop.v1.invoices.retrieve(euros.latest_invoice)) == [500]
    shop.v1.subscriptions.cancel(euros.id)
    preview = shop.v1.invoices.create_preview({"subscription": other.id})
    assert (lines_of(preview), preview.total) == ([-3950, -1450, 3950, 1200], -250)
    shop.advance(days=31, hours=1)
    (renewal, _) = shop.v1.invoices.list({"subscription": other.id}).data
    assert (lines_of(renewal), renewal.amount_due, renewal.status) == (lines_of(preview), 0, "paid")
    assert [line.invoice for line in renewal.lines.data] == [renewal.id] * 4
    assert shop.v1.customers.retrieve(customer).balance == -250
    shop.advance(days=31)
    assert lines_of(shop.v1.invoices.list({"subscription": other.id}).data[0]) == [1200]


def test_invoicing_now_bills_what_was_pending(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "create_prorations")
    ended = shop.v1.subscriptions.cancel(plans.subscription.id, {"invoice_now": True})
    (last, _) = shop.v1.invoices.list({"subscription": ended.id}).data
    assert (lines_of(last), last.amount_paid, last.status) == ([-1450, 3950], 2500, "paid")
    assert ended.latest_invoice == last.id


def test_invoicing_now_makes_no_empty_invoice(shop: Shop, plans: Plans) -> None:
    ended = shop.v1.subscriptions.cancel(plans.subscription.id, {"invoice_now": True})
    assert [one.id for one in shop.v1.invoices.list().data] == [ended.latest_invoice]
    assert shop.v1.customers.retrieve(ended.customer).balance == 0


def test_prorating_and_invoicing_settles_pending_items_too(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "create_prorations")
    wish = {"prorate": True, "invoice_now": True}
    ended = shop.v1.subscriptions.cancel(plans.subscription.id, wish)
    last = shop.v1.invoices.retrieve(ended.latest_invoice)
    assert (lines_of(last), last.total, last.status) == ([-3950, -1450, 3950], -1450, "paid")
    assert shop.v1.customers.retrieve(ended.customer).balance == -1450


def test_with_neither_nothing_is_settled_any_more(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "create_prorations")
    shop.v1.subscriptions.cancel(plans.subscription.id)
    assert len(shop.v1.invoices.list().data) == 1
    other = shop.subscribe(plans.small, customer=plans.subscription.customer)
    assert lines_of(shop.v1.invoices.retrieve(other.latest_invoice)) == [1200]


def test_a_last_invoice_that_is_not_paid_stays_open(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "create_prorations")
    put_failing_card(shop, plans.subscription.customer)
    before = len(shop.types())
    ended = shop.v1.subscriptions.cancel(plans.subscription.id, {"invoice_now": True})
    assert (ended.status, ended.cancellation_details.reason) == (
        "canceled", "cancellation_requested",
    )  # fmt: skip
    shop.advance(days=20)
    last = shop.v1.invoices.retrieve(ended.latest_invoice)
    assert (last.status, last.attempt_count, last.amount_remaining) == ("open", 1, 2500)
    assert last.next_payment_attempt is None
    assert shop.types(before).count("customer.subscription.deleted") == 1
    assert "customer.subscription.updated" not in shop.types(before)


def test_another_interval_begins_a_new_period(shop: Shop, plans: Plans) -> None:
    year = shop.price(29000, recurring={"interval": "year"})
    changed = update(shop, plans, year, "create_prorations", expand=["latest_invoice"])
    assert changed.latest_invoice.total == 29000 - 1450
    item = changed["items"].data[0]
    assert item.current_period_start == changed.billing_cycle_anchor == unix(shop_now(shop))
    assert item.current_period_end - item.current_period_start == 365 * 86400


def test_quantities_are_prorated_too(shop: Shop, plans: Plans) -> None:
    asked = {"items": [{"id": plans.item, "quantity": 3}], "proration_behavior": "always_invoice"}
    changed = shop.v1.subscriptions.update(plans.subscription.id, asked)
    assert changed.quantity == 3
    assert shop.v1.invoices.list().data[0].total == 2900


def test_a_second_item(shop: Shop, plans: Plans) -> None:
    asked = {"items": [{"price": plans.small.id}], "proration_behavior": "always_invoice"}
    changed = shop.v1.subscriptions.update(plans.subscription.id, asked)
    assert len(changed["items"].data) == 2
    assert shop.v1.invoices.list().data[0].total == 600
    asked = {"items": [{"id": plans.item, "deleted": True}], "proration_behavior": "none"}
    changed = shop.v1.subscriptions.update(plans.subscription.id, asked)
    assert [item.price.id for item in changed["items"].data] == [plans.small.id]
    with pytest.raises(stripe.InvalidRequestError, match="at least one item"):
        only = {"id": changed["items"].data[0].id, "deleted": True}
        shop.v1.subscriptions.update(plans.subscription.id, {"items": [only]})


def test_an_upgrade_that_is_not_paid(shop: Shop, plans: Plans) -> None:
    put_failing_card(shop, plans.subscription.customer)
    with pytest.raises(stripe.CardError, match="declined"):
        update(shop, plans, plans.big, "always_invoice", payment_behavior="error_if_incomplete")
    kept = shop.v1.subscriptions.retrieve(plans.subscription.id)
    assert kept["items"].data[0].price.id == plans.middle.id
    assert len(shop.v1.invoices.list().data) == 1
    changed = update(shop, plans, plans.big, "always_invoice")
    assert changed.status == "past_due"
    assert changed["items"].data[0].price.id == plans.big.id


def test_previews_change_nothing(shop: Shop, plans: Plans) -> None:
    details = {
        "items": [{"id": plans.item, "price": plans.big.id}],
        "proration_behavior": "always_invoice",
    }
    asked = {"subscription": plans.subscription.id, "subscription_details": details}
    before = shop.types()
    assert shop.v1.invoices.create_preview(asked).total == 2500
    details["proration_behavior"] = "create_prorations"
    assert shop.v1.invoices.create_preview(asked).total == 2500 + 7900
    assert shop.v1.invoices.create_preview({"subscription": plans.subscription.id}).total == 2900
    assert shop.types() == before


def offer(shop: Shop, plans: Plans, **feature: Any) -> Any:
    """A portal that offers all three plans."""
    products = [
        {"product": price.product, "prices": [price.id]}
        for price in (plans.small, plans.middle, plans.big)
    ]
    feature = {
        "enabled": True,
        "default_allowed_updates": ["price"],
        "proration_behavior": "always_invoice",
        "products": products,
        **feature,
    }
    return shop.portal(plans.subscription.customer, subscription_update=feature)


def test_upgrading_in_the_portal(shop: Shop, plans: Plans) -> None:
    portal = offer(shop, plans)
    home = shop.browser.get(portal.url).text
    assert "Change plan" in home
    assert "29.00 USD" in home
    listed = shop.browser.get(
        f"{portal.url}/update", params={"subscription": plans.subscription.id}
    )
    assert "79.00 USD per month" in listed.text
    assert plans.middle.id not in listed.text
    form = {"subscription": plans.subscription.id, "price": plans.big.id}
    confirm = shop.browser.post(f"{portal.url}/update", data=form).headers["location"]
    page = shop.browser.get(confirm).text
    assert "Due today" in page
    assert "25.00 USD" in page
    assert len(shop.v1.invoices.list().data) == 1
    done = shop.browser.post(f"{portal.url}/confirm", data=form)
    assert done.status_code == 303
    assert "Your plan was changed" in shop.browser.get(done.headers["location"]).text
    changed = shop.v1.subscriptions.retrieve(plans.subscription.id)
    assert changed["items"].data[0].price.id == plans.big.id
    assert shop.v1.invoices.list().data[0].total == 2500


def test_an_unpaid_upgrade_in_the_portal_changes_nothing(shop: Shop, plans: Plans) -> None:
    put_failing_card(shop, plans.subscription.customer)
    portal = offer(shop, plans)
    before = shop.types()
    form = {"subscription": plans.subscription.id, "price": plans.big.id}
    assert shop.browser.post(f"{portal.url}/confirm", data=form).status_code == 402
    assert shop.types() == before
    kept = shop.v1.subscriptions.retrieve(plans.subscription.id)
    assert kept["items"].data[0].price.id == plans.middle.id


def test_downgrading_in_the_portal_at_the_end_of_the_period(shop: Shop, plans: Plans) -> None:
    later = {"conditions": [{"type": "decreasing_item_amount"}]}
    portal = offer(shop, plans, schedule_at_period_end=later)
    form = {"subscription": plans.subscription.id, "price": plans.small.id}
    page = shop.browser.get(f"{portal.url}/confirm", params=form)
    assert "Nothing is due today" in page.text
    assert shop.browser.post(f"{portal.url}/confirm", data=form).status_code == 303
    waiting = shop.v1.subscriptions.retrieve(plans.subscription.id)
    assert waiting.schedule.startswith("sub_sched_")
    assert waiting["items"].data[0].price.id == plans.middle.id
    assert shop.v1.invoices.create_preview({"subscription": waiting.id}).total == 1200
    shop.advance(days=14, hours=1)
    changed = shop.v1.subscriptions.retrieve(plans.subscription.id)
    assert changed.schedule is None
    assert changed["items"].data[0].price.id == plans.small.id
    assert shop.v1.invoices.list().data[0].total == 1200


def test_a_plan_that_is_not_offered(shop: Shop, plans: Plans) -> None:
    other = shop.price(100)
    portal = offer(shop, plans)
    form = {"subscription": plans.subscription.id, "price": other.id}
    assert shop.browser.post(f"{portal.url}/confirm", data=form).status_code == 400
