"""The portal: configurations, sessions, flows, and its page."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Shop


def test_configurations(shop: Shop) -> None:
    price = shop.price()
    products = [{"product": price.product, "prices": [price.id]}]
    update = {"enabled": True, "default_allowed_updates": ["price"], "products": products}
    first = shop.v1.billing_portal.configurations.create(
        {
            "features": {"subscription_update": update, "invoice_history": {"enabled": True}},
            "business_profile": {"headline": "Shimmy"},
            "metadata": {"a": "b"},
            "default_return_url": "http://127.0.0.1:9/me",
        }
    )
    assert first.is_default
    assert first.features.subscription_update.products[0].prices == [price.id]
    cancelling = {"subscription_cancel": {"enabled": True, "mode": "immediately"}}
    second = shop.v1.billing_portal.configurations.create({"features": cancelling})
    assert not second.is_default
    changed = shop.v1.billing_portal.configurations.update(
        second.id, {"active": False, "features": {"invoice_history": {"enabled": True}}}
    )
    assert changed.features.invoice_history.enabled
    assert changed.features.subscription_cancel.mode == "immediately"
    listed = shop.v1.billing_portal.configurations.list({"active": True})
    assert [one.id for one in listed] == [first.id]
    assert shop.v1.billing_portal.configurations.retrieve(first.id).name is None
    with pytest.raises(stripe.InvalidRequestError, match="default"):
        shop.v1.billing_portal.configurations.update(first.id, {"active": False})
    with pytest.raises(stripe.InvalidRequestError, match="at most 10"):
        many = {**update, "products": products * 11}
        features = {"subscription_update": many}
        shop.v1.billing_portal.configurations.create({"features": features})


def test_a_portal_needs_a_configuration(shop: Shop) -> None:
    customer = shop.v1.customers.create({})
    with pytest.raises(stripe.InvalidRequestError, match="portal settings"):
        shop.v1.billing_portal.sessions.create({"customer": customer.id})
    with pytest.raises(stripe.InvalidRequestError, match="No such customer"):
        shop.v1.billing_portal.sessions.create({"customer": "cus_none"})


def test_cancelling_in_the_portal_sets_cancel_at_only(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    reasons = {"enabled": True, "options": ["too_expensive", "other"]}
    cancelling = {"enabled": True, "mode": "at_period_end", "cancellation_reason": reasons}
    portal = shop.portal(subscription.customer, subscription_cancel=cancelling)
    form = {"subscription": subscription.id}
    page = shop.browser.get(f"{portal.url}/cancel", params=form)
    assert "28 February 2027" in page.text
    assert "too expensive" in page.text
    wrong = shop.browser.post(f"{portal.url}/cancel", data={**form, "feedback": "unused"})
    assert wrong.status_code == 400
    reason = {**form, "feedback": "too_expensive", "comment": "dear"}
    assert shop.browser.post(f"{portal.url}/cancel", data=reason).status_code == 303
    cancelled = shop.v1.subscriptions.retrieve(subscription.id)
    end = cancelled["items"].data[0].current_period_end
    assert (cancelled.cancel_at, cancelled.cancel_at_period_end) == (end, False)
    assert (cancelled.status, cancelled.canceled_at is None) == ("active", False)
    details = cancelled.cancellation_details
    assert (details.feedback, details.comment) == ("too_expensive", "dear")
    assert details.reason == "cancellation_requested"
    changed = shop.events("customer.subscription.updated")[-1].data.previous_attributes.to_dict()
    assert changed["cancel_at"] is None
    assert "cancel_at_period_end" not in changed
    home = shop.browser.get(portal.url).text
    assert "Cancels on 28 February 2027" in home
    assert shop.browser.post(f"{portal.url}/keep", data=form).status_code == 303
    assert shop.v1.subscriptions.retrieve(subscription.id).cancel_at is None
    shop.browser.post(f"{portal.url}/cancel", data=form)
    shop.advance(days=28)
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "canceled"


def test_cancelling_at_once(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    cancelling = {"enabled": True, "mode": "immediately"}
    portal = shop.portal(subscription.customer, subscription_cancel=cancelling)
    shop.browser.post(f"{portal.url}/cancel", data={"subscription": subscription.id})
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    assert "no running subscription" in shop.browser.get(portal.url).text


def test_invoices_and_cards_are_shown(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    portal = shop.portal(subscription.customer)
    home = shop.browser.get(portal.url).text
    invoice = shop.v1.invoices.list().data[0]
    assert invoice.number in home
    assert invoice.hosted_invoice_url in home
    assert "visa ending in 4242" in home
    assert "http://127.0.0.1:9/me" in home
    assert invoice.number in shop.browser.get(invoice.hosted_invoice_url).text
    reply = shop.browser.post(f"{portal.url}/card", data={"card_number": "5555555555554444"})
    assert reply.status_code == 303
    assert "mastercard ending in 4444" in shop.browser.get(portal.url).text
    changed = shop.v1.subscriptions.retrieve(
        subscription.id, {"expand": ["default_payment_method", "customer"]}
    )
    assert changed.default_payment_method.card.last4 == "4444"
    settings = changed.customer.invoice_settings
    assert settings.default_payment_method == changed.default_payment_method.id
    assert "customer.updated" in shop.types()


@pytest.mark.parametrize(
    ("card", "words"), [("4000000000000002", "declined"), ("12", "incorrect"), ("", "incorrect")]
)
def test_a_card_that_cannot_be_saved(shop: Shop, card: str, words: str) -> None:
    subscription = shop.subscribe(shop.price())
    portal = shop.portal(subscription.customer)
    reply = shop.browser.post(f"{portal.url}/card", data={"card_number": card})
    assert reply.status_code == 402
    assert words in reply.text


def test_a_card_that_is_authenticated_first(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    portal = shop.portal(subscription.customer)
    form = {"card_number": "4000002500003155"}
    assert "Complete authentication" in shop.browser.post(f"{portal.url}/card", data=form).text
    failed = shop.browser.post(f"{portal.url}/card", data={**form, "authentication": "fail"})
    assert failed.status_code == 402
    done = shop.browser.post(f"{portal.url}/card", data={**form, "authentication": "complete"})
    assert done.status_code == 303
    shop.advance(days=28, hours=1)
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"


def flow_session(shop: Shop, subscription: Any, flow: dict[str, Any]) -> Any:
    price = shop.price(7900)
    update = {
        "enabled": True,
        "default_allowed_updates": ["price"],
        "proration_behavior": "always_invoice",
        "products": [{"product": price.product, "prices": [price.id]}],
    }
    configuration = shop.portal(subscription.customer, subscription_update=update).configuration
    if flow["type"] == "subscription_update_confirm":
        item = {"id": subscription["items"].data[0].id, "price": price.id, "quantity": 1}
        details = {"subscription": subscription.id, "items": [item]}
        flow = {**flow, "subscription_update_confirm": details}
    return shop.v1.billing_portal.sessions.create(
        {"customer": subscription.customer, "configuration": configuration, "flow_data": flow}
    )


def test_the_flow_that_confirms_an_upgrade(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    back = {"type": "redirect", "redirect": {"return_url": "http://127.0.0.1:9/done"}}
    flow = {"type": "subscription_update_confirm", "after_completion": back}
    session = flow_session(shop, subscription, flow)
    assert session.flow.type == "subscription_update_confirm"
    page = shop.browser.get(session.url).headers["location"]
    assert "67.00 USD" in shop.browser.get(page).text
    form = dict(pair.split("=") for pair in page.partition("?")[2].split("&"))
    done = shop.browser.post(f"{session.url}/confirm", data=form)
    assert done.headers["location"] == "http://127.0.0.1:9/done"
    assert shop.v1.invoices.list().data[0].total == 6700


def test_the_flow_that_cancels(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    after = {"type": "hosted_confirmation", "hosted_confirmation": {"custom_message": "Bye!"}}
    flow = {
        "type": "subscription_cancel",
        "subscription_cancel": {"subscription": subscription.id},
        "after_completion": after,
    }
    session = flow_session(shop, subscription, flow)
    assert "/cancel?" in shop.browser.get(session.url).headers["location"]
    done = shop.browser.post(f"{session.url}/cancel", data={"subscription": subscription.id})
    assert "Bye!" in done.text
    assert shop.v1.subscriptions.retrieve(subscription.id).cancel_at
    assert shop.browser.get(session.url).status_code == 200


def test_the_flow_that_changes_the_card(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    session = flow_session(shop, subscription, {"type": "payment_method_update"})
    assert shop.browser.get(session.url).headers["location"].endswith("/card")
    missing = {"type": "subscription_cancel"}
    with pytest.raises(stripe.InvalidRequestError, match="Missing"):
        flow_session(shop, subscription, missing)
    with pytest.raises(stripe.InvalidRequestError, match="not simulated"):
        flow_session(shop, subscription, {"type": "customer_update"})


def test_what_is_switched_off_or_not_yours(shop: Shop) -> None:
    mine, foreign = shop.subscribe(shop.price()), shop.subscribe(shop.price())
    portal = shop.portal(mine.customer, payment_method_update={"enabled": False})
    assert shop.browser.get(f"{portal.url}/card").status_code == 400
    form = {"subscription": foreign.id}
    assert shop.browser.post(f"{portal.url}/cancel", data=form).status_code == 400
    assert shop.browser.post(f"{portal.url}/cancel", data={}).status_code == 400
    assert shop.browser.get(f"{portal.url}/nothing").status_code == 404
    shop.advance(hours=2)
    assert shop.browser.get(portal.url).status_code == 410
