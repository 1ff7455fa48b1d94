"""Billing where a kinder Stripe would hide a bug: unpaid time, new cycles, flexible credits."""

from __future__ import annotations

from typing import Any

import pytest

from shimmy_sandbox.stripe_api.periods import DAY

from .conftest import Shop, unix
from .test_plan_changes import Plans, lines_of, update
from .test_plan_changes import plans as plans
from .test_renewals import put_failing_card, shop_now


def unpaid_renewal(shop: Shop, after: str) -> Any:
    """A subscription whose renewal nobody paid, half of the unpaid period over."""
    shop.control("billing", {"retry_days": [1], "after_retries": after})
    subscription = shop.subscribe(shop.price(3100))
    put_failing_card(shop, subscription.customer)
    shop.advance(days=28, hours=1)
    shop.advance(days=15, hours=11)
    return shop.v1.subscriptions.retrieve(subscription.id)


@pytest.mark.parametrize("status", ["past_due", "unpaid"])
def test_time_that_was_never_paid_is_given_back_all_the_same(shop: Shop, status: str) -> None:
    subscription = unpaid_renewal(shop, status)
    assert subscription.status == status
    owed = shop.v1.invoices.list({"subscription": subscription.id, "status": "open"}).data[0]
    shop.v1.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    last = shop.v1.invoices.list().data[0]
    assert (lines_of(last), last.status, last.amount_due) == ([-1550], "paid", 0)
    credited = last.lines.data[0].parent.subscription_item_details.proration_details.credited_items
    assert credited.invoice == owed.id
    assert shop.v1.customers.retrieve(subscription.customer).balance == -1550
    kept = shop.v1.invoices.retrieve(owed.id)
    assert (kept.status, kept.auto_advance, kept.amount_remaining) == ("open", False, 3100)


def test_credit_for_unpaid_time_waits_for_another_subscription(shop: Shop) -> None:
    subscription = unpaid_renewal(shop, "past_due")
    shop.v1.subscriptions.cancel(subscription.id, {"prorate": True})
    other = shop.subscribe(shop.price(2000), customer=subscription.customer)
    first = shop.v1.invoices.retrieve(other.latest_invoice)
    assert (lines_of(first), first.amount_paid) == ([-1550, 2000], 450)


def test_flexible_billing_gives_back_what_was_billed(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "none")
    shop.v1.subscriptions.cancel(plans.subscription.id, {"prorate": True, "invoice_now": True})
    last = shop.v1.invoices.list().data[0]
    assert lines_of(last) == [-1450]
    assert last.lines.data[0].pricing.price_details.price == plans.middle.id


def test_up_without_proration_and_down_with_it(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "none")
    changed = update(shop, plans, plans.middle, "always_invoice", expand=["latest_invoice"])
    assert lines_of(changed.latest_invoice) == [-1450, 1450]


def test_classic_billing_gives_back_what_it_costs_now(shop: Shop) -> None:
    small, big = shop.price(2900), shop.price(7900)
    mode = {"billing_mode": {"type": "classic"}}
    subscription = shop.subscribe(small, subscription_data=mode)
    shop.advance(days=14)
    item = subscription["items"].data[0].id
    asked = {"items": [{"id": item, "price": big.id}], "proration_behavior": "none"}
    shop.v1.subscriptions.update(subscription.id, asked)
    shop.v1.subscriptions.cancel(subscription.id, {"prorate": True, "invoice_now": True})
    assert lines_of(shop.v1.invoices.list().data[0]) == [-3950]


def test_an_item_that_was_never_billed_gives_nothing_back(shop: Shop, plans: Plans) -> None:
    extra = {"items": [{"price": plans.small.id}], "proration_behavior": "none"}
    changed = shop.v1.subscriptions.update(plans.subscription.id, extra)
    gone = [{"id": changed["items"].data[1].id, "deleted": True}]
    asked = {"items": gone, "proration_behavior": "always_invoice"}
    shop.v1.subscriptions.update(changed.id, asked)
    assert len(shop.v1.invoices.list().data) == 1


def test_a_credit_of_what_is_still_pending(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "create_prorations")
    shop.advance(days=7)
    changed = update(shop, plans, plans.small, "always_invoice", expand=["latest_invoice"])
    assert lines_of(changed.latest_invoice) == [-1975, 300, -1450, 3950]


def check_new_cycle(shop: Shop, changed: Any, lines: list[int]) -> None:
    """A cycle that began just now, billed with ``lines``, only the last for a period."""
    invoice = changed.latest_invoice
    assert (invoice.billing_reason, invoice.status) == ("subscription_update", "paid")
    assert lines_of(invoice) == lines
    details = [line.parent.subscription_item_details for line in invoice.lines.data]
    assert [one.proration for one in details] == [True] * (len(lines) - 1) + [False]
    item, own = changed["items"].data[0], invoice.lines.data[-1]
    now = unix(shop_now(shop))
    assert changed.billing_cycle_anchor == item.current_period_start == own.period.start == now
    assert item.current_period_end == own.period.end
    assert details[-1].invoice_item is None


def test_a_new_interval(shop: Shop, plans: Plans) -> None:
    year = shop.price(29000, recurring={"interval": "year"})
    changed = update(shop, plans, year, "create_prorations", expand=["latest_invoice"])
    check_new_cycle(shop, changed, [-1450, 29000])


def test_a_new_billing_cycle_by_wish(shop: Shop, plans: Plans) -> None:
    asked = {"billing_cycle_anchor": {"type": "now"}, "expand": ["latest_invoice"]}
    changed = shop.v1.subscriptions.update(plans.subscription.id, asked)
    check_new_cycle(shop, changed, [-1450, 2900])
    shop.advance(days=28, hours=1)
    assert shop.v1.invoices.list().data[0].billing_reason == "subscription_cycle"


def test_a_new_plan_in_a_new_billing_cycle(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.small, "create_prorations")
    shop.advance(days=7)
    anchor = {"billing_cycle_anchor": {"type": "now"}, "expand": ["latest_invoice"]}
    changed = update(shop, plans, plans.big, "create_prorations", **anchor)
    check_new_cycle(shop, changed, [-300, -1450, 600, 7900])


def test_a_new_billing_cycle_without_proration(shop: Shop, plans: Plans) -> None:
    anchor = {"billing_cycle_anchor": {"type": "now"}, "expand": ["latest_invoice"]}
    check_new_cycle(shop, update(shop, plans, plans.big, "none", **anchor), [7900])


def test_resuming_bills_a_new_period(shop: Shop, plans: Plans) -> None:
    update(shop, plans, plans.big, "create_prorations")
    shop.control(f"pause/{plans.subscription.id}")
    shop.advance(days=3)
    shop.v1.subscriptions.resume(plans.subscription.id)
    expand = {"expand": ["latest_invoice"]}
    resumed = shop.v1.subscriptions.retrieve(plans.subscription.id, expand)
    assert resumed.status == "active"
    check_new_cycle(shop, resumed, [-1450, 3950, 7900])


def test_a_resumption_that_is_not_paid(shop: Shop, plans: Plans) -> None:
    put_failing_card(shop, plans.subscription.customer)
    shop.control(f"pause/{plans.subscription.id}")
    resumed = shop.v1.subscriptions.resume(plans.subscription.id, {"expand": ["latest_invoice"]})
    assert (resumed.status, resumed.latest_invoice.status) == ("past_due", "open")


def test_a_paused_subscription_gives_nothing_back(shop: Shop, plans: Plans) -> None:
    shop.control(f"pause/{plans.subscription.id}")
    shop.v1.subscriptions.cancel(plans.subscription.id, {"prorate": True, "invoice_now": True})
    assert len(shop.v1.invoices.list().data) == 1


@pytest.mark.parametrize("final", ["cancel", "unpaid", "past_due"])
def test_an_upgrade_that_cannot_be_paid_is_made_and_dunned(
    shop: Shop, plans: Plans, final: str
) -> None:
    shop.control("billing", {"retry_days": [1, 2], "after_retries": final})
    put_failing_card(shop, plans.subscription.customer)
    asked: dict[str, Any] = {"payment_behavior": "allow_incomplete", "expand": ["latest_invoice"]}
    changed = update(shop, plans, plans.big, "always_invoice", **asked)
    invoice = changed.latest_invoice
    assert changed.status == "past_due"
    assert changed["items"].data[0].price.id == plans.big.id
    assert (invoice.status, invoice.billing_reason) == ("open", "subscription_update")
    assert (invoice.amount_remaining, invoice.attempt_count) == (2500, 1)
    assert invoice.next_payment_attempt == unix(shop_now(shop)) + DAY
    shop.advance(days=3)
    after = shop.v1.subscriptions.retrieve(changed.id)
    assert after.status == {"cancel": "canceled"}.get(final, final)
    assert after["items"].data[0].price.id == plans.big.id
    last = shop.v1.invoices.retrieve(invoice.id)
    assert (last.status, last.attempt_count, last.next_payment_attempt) == ("open", 3, None)


def test_paying_the_upgrade_later_recovers_it(shop: Shop, plans: Plans) -> None:
    put_failing_card(shop, plans.subscription.customer)
    changed = update(shop, plans, plans.big, "always_invoice", expand=["latest_invoice"])
    page = changed.latest_invoice.hosted_invoice_url
    paid = shop.browser.post(page, data={"card_number": "4242424242424242"})
    assert paid.status_code == 303
    assert shop.v1.subscriptions.retrieve(changed.id).status == "active"


@pytest.mark.parametrize(
    ("behaviour", "balance"), [("none", 0), ("create_prorations", 0), ("always_invoice", -1450)]
)
def test_cancelling_at_once_in_the_portal(
    shop: Shop, plans: Plans, behaviour: str, balance: int
) -> None:
    customer = plans.subscription.customer
    feature = {"enabled": True, "mode": "immediately", "proration_behavior": behaviour}
    portal = shop.portal(customer, subscription_cancel=feature)
    form = {"subscription": plans.subscription.id}
    assert shop.browser.post(f"{portal.url}/cancel", data=form).status_code == 303
    assert shop.v1.subscriptions.retrieve(plans.subscription.id).status == "canceled"
    assert shop.v1.customers.retrieve(customer).balance == balance
    other = shop.subscribe(plans.big, customer=customer)
    first = shop.v1.invoices.retrieve(other.latest_invoice)
    assert first.amount_paid == 7900 - (0 if behaviour == "none" else 1450)
