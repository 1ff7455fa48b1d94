"""The lines of invoices: what is embedded, in which order, what each came of."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import START, Shop, unix
from .test_plan_changes import Plans, lines_of, update
from .test_plan_changes import plans as plans


def every_line(shop: Shop, invoice: Any) -> list[Any]:
    """All lines of ``invoice``, page by page."""
    asked = {"limit": 4}
    return list(shop.v1.invoices.line_items.list(invoice.id, asked).auto_paging_iter())


def test_an_invoice_embeds_its_first_ten_lines(shop: Shop, plans: Plans) -> None:
    first = shop.v1.invoices.retrieve(plans.subscription.latest_invoice)
    assert (len(first.lines.data), first.lines.has_more) == (1, False)
    for step in range(1, 6):
        price = plans.big if step % 2 else plans.small
        update(shop, plans, price, "create_prorations")
        shop.advance(days=1)
    shop.advance(days=9, hours=2)
    renewal = shop.v1.invoices.list().data[0]
    assert (len(renewal.lines.data), renewal.lines.has_more) == (10, True)
    listed = every_line(shop, renewal)
    assert [line.id for line in listed[:10]] == [line.id for line in renewal.lines.data]
    assert len({line.id for line in listed}) == 11
    assert sum(line.amount for line in listed) == renewal.total
    # The subscription's own line is the last: whoever reads only what is embedded misses it.
    own = listed[-1].parent.subscription_item_details
    assert (own.proration, own.invoice_item) == (False, None)
    assert all(line.parent.subscription_item_details.proration for line in renewal.lines.data)
    starts = [line.period.start for line in listed[:-1]]
    assert starts == sorted(starts, reverse=True)
    assert [line.amount < 0 for line in listed[:-1]] == [True, False] * 5
    page = shop.browser.get(renewal.hosted_invoice_url).text
    assert page.count("time on") == 10
    assert f"1 x {plans.big.product}</td>" in page


def test_lines_of_an_invoice_that_is_not_there(shop: Shop) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="No such invoice"):
        shop.v1.invoices.line_items.list("in_none")


def test_what_a_line_came_of(shop: Shop, plans: Plans) -> None:
    changed = update(shop, plans, plans.big, "always_invoice", expand=["latest_invoice"])
    credit, debit = every_line(shop, changed.latest_invoice)
    for line, price in ((credit, plans.middle), (debit, plans.big)):
        details = line.parent.subscription_item_details
        assert (line.parent.type, details.proration) == ("subscription_item_details", True)
        assert (details.subscription_item, details.subscription) == (plans.item, changed.id)
        assert details.invoice_item.startswith("ii_")
        shown = line.pricing.price_details
        assert (shown.price, shown.product) == (price.id, price.product)
        assert (line.discountable, line.invoice) == (False, changed.latest_invoice.id)
    (first,) = every_line(shop, shop.v1.invoices.list().data[1])
    credited = credit.parent.subscription_item_details.proration_details.credited_items
    assert (credited.invoice, credited.invoice_line_items) == (first.invoice, [first.id])
    assert debit.parent.subscription_item_details.proration_details.credited_items is None
    assert (first.discountable, first.parent.subscription_item_details.proration) == (True, False)


def test_two_products_in_one_checkout(shop: Shop) -> None:
    plan, extra = shop.price(1200, "developer"), shop.price(500, "support")
    setup = shop.price(900, recurring=None, nickname="Set-up")
    items = [{"price": one.id, "quantity": 1} for one in (plan, extra, setup)]
    session = shop.session(plan, line_items=items)
    assert session.amount_total == 2600
    assert shop.pay(session).status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["invoice", "subscription"]})
    bought = done.subscription["items"].data
    assert [item.price.id for item in bought] == [plan.id, extra.id]
    assert done.subscription.to_dict()["plan"] is None
    once, first, second = every_line(shop, done.invoice)
    assert (once.amount, once.parent.type) == (900, "invoice_item_details")
    details = once.parent.invoice_item_details
    assert (details.proration, details.subscription) == (False, done.subscription.id)
    lines = [(line.amount, line.pricing.price_details.product) for line in (first, second)]
    assert lines == [(1200, plan.product), (500, extra.product)]
    held = [line.parent.subscription_item_details.subscription_item for line in (first, second)]
    assert held == [item.id for item in bought]
    shop.advance(days=28, hours=1)
    renewal = shop.v1.invoices.list({"subscription": done.subscription.id}).data[0]
    assert (lines_of(renewal), renewal.status) == ([1200, 500], "paid")


def test_a_second_product_by_an_update(shop: Shop, plans: Plans) -> None:
    extra = shop.price(600, "support")
    asked = {"items": [{"price": extra.id}], "proration_behavior": "always_invoice"}
    changed = shop.v1.subscriptions.update(plans.subscription.id, asked)
    added = changed["items"].data[1]
    (line,) = every_line(shop, shop.v1.invoices.retrieve(changed.latest_invoice))
    assert (line.amount, line.pricing.price_details.product) == (300, extra.product)
    assert line.parent.subscription_item_details.subscription_item == added.id
    shop.advance(days=14, hours=1)
    renewal = shop.v1.invoices.list().data[0]
    # The newest item comes first.
    assert lines_of(renewal) == [600, 2900]
    gone = {"items": [{"id": added.id, "deleted": True}], "proration_behavior": "always_invoice"}
    shop.v1.subscriptions.update(changed.id, gone)
    (credit,) = every_line(shop, shop.v1.invoices.list().data[0])
    assert credit.parent.subscription_item_details.subscription_item == added.id
    assert -600 < credit.amount < -590


def test_the_portal_cannot_change_several_items(shop: Shop, plans: Plans) -> None:
    extra = shop.price(600)
    shop.v1.subscriptions.update(plans.subscription.id, {"items": [{"price": extra.id}]})
    feature = {
        "enabled": True,
        "default_allowed_updates": ["price"],
        "products": [{"product": plans.big.product, "prices": [plans.big.id]}],
    }
    portal = shop.portal(plans.subscription.customer, subscription_update=feature)
    assert "Change plan" not in shop.browser.get(portal.url).text
    form = {"subscription": plans.subscription.id, "price": plans.big.id}
    assert shop.browser.post(f"{portal.url}/confirm", data=form).status_code == 400
    flow = {"type": "subscription_update", "subscription_update": {
        "subscription": plans.subscription.id,
    }}  # fmt: skip
    asked = {"customer": portal.customer, "configuration": portal.configuration}
    with pytest.raises(stripe.InvalidRequestError, match="several items"):
        shop.v1.billing_portal.sessions.create({**asked, "flow_data": flow})


def test_the_receipt_of_what_is_bought_once(shop: Shop) -> None:
    price = shop.price(49900, "lifetime", recurring=None)
    session = shop.session(
        price, "payment", customer_creation="always", invoice_creation={"enabled": True}
    )
    assert shop.pay(session).status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["invoice"]})
    (line,) = every_line(shop, done.invoice)
    assert (line.description, line.parent.type) == ("lifetime", "invoice_item_details")
    assert line.parent.invoice_item_details.subscription is None
    assert line.period.start == unix(START)
