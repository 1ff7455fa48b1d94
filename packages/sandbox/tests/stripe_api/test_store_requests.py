"""What Shimmy Vision's store asks of Stripe, in the words it uses, through the official SDK."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import SUCCESS, Shop
from .test_renewals import shop_now

BOUGHT = {"plan": "lifetime", "order": "1"}
CHINESE = ["card", "link", "alipay", "wechat_pay"]
WEB = {"wechat_pay": {"client": "web"}}


def lifetime(shop: Shop, **more: Any) -> Any:
    price = shop.price(49900, "lifetime", recurring=None)
    asked = {
        "allowed_payment_method_types": CHINESE,
        "payment_method_options": WEB,
        "client_reference_id": "buyer-1",
        "customer_creation": "always",
        "metadata": BOUGHT,
        "payment_intent_data": {"metadata": BOUGHT},
        **more,
    }
    return shop.session(price, "payment", **asked)


@pytest.mark.parametrize("kind", CHINESE[2:])
def test_a_plan_bought_once(shop: Shop, kind: str) -> None:
    session = lifetime(shop)
    assert session.payment_method_options.wechat_pay.client == "web"
    assert session.payment_method_types == CHINESE
    assert shop.pay(session, card="", payment_method=kind).status_code == 303
    shop.advance(hours=1)
    expand = {"expand": ["payment_intent.latest_charge", "invoice", "customer"]}
    done = shop.v1.checkout.sessions.retrieve(session.id, expand)
    assert (done.client_reference_id, done.payment_status) == ("buyer-1", "paid")
    intent = done.payment_intent
    assert intent.metadata.to_dict() == BOUGHT
    assert intent.latest_charge.payment_method_details.type == kind
    assert (intent.latest_charge.paid, intent.latest_charge.amount) == (True, 49900)
    assert (done.customer.email, done.invoice) == ("ada@example.com", None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"wechat_pay": {"client": "fax"}}, "must be one of android, ios, or web"),
        ({"wechat_pay": {}, "alipay": {"setup_future_usage": "off_session"}}, "must be one of"),
        ({"wechat_pay": {"app_id": "wx1"}}, "client"),
        ({"card": {"request_three_d_secure": "any"}}, "not simulated"),
        ({"barter": {"cows": "2"}}, "unknown parameter"),
    ],
)
def test_options_that_are_refused(shop: Shop, options: Any, words: str) -> None:
    with pytest.raises(stripe.InvalidRequestError, match=words) as refused:
        lifetime(shop, payment_method_options=options)
    assert str(refused.value.param).startswith("payment_method_options[")


def test_a_second_subscription_of_one_customer(shop: Shop) -> None:
    small, big = shop.price(1200, "developer"), shop.price(2900, "professional")
    first = shop.subscribe(small, subscription_data={"metadata": {"plan": "developer"}})
    session = shop.session(
        big,
        customer=first.customer,
        client_reference_id="buyer-1",
        subscription_data={"metadata": {"plan": "professional"}},
    )
    assert shop.pay(session).status_code == 303
    expand = {"expand": ["invoice", "payment_intent.latest_charge", "subscription"]}
    done = shop.v1.checkout.sessions.retrieve(session.id, expand)
    assert (done.customer, done.payment_intent) == (first.customer, None)
    assert done.subscription.metadata.to_dict() == {"plan": "professional"}
    assert done.invoice.parent.subscription_details.metadata.to_dict() == {"plan": "professional"}
    asked = {"customer": first.customer, "status": "active"}
    running = shop.v1.subscriptions.list(asked).data
    assert [one.id for one in running] == [done.subscription.id, first.id]
    shop.v1.subscriptions.cancel(first.id)
    assert [one.id for one in shop.v1.subscriptions.list(asked).data] == [done.subscription.id]


def test_prices_by_lookup_key_with_their_products(shop: Shop) -> None:
    for key in ("developer", "professional"):
        shop.price(1200, key)
    old = shop.price(100, "startup")
    shop.v1.prices.update(old.id, {"active": False})
    keys = ["developer", "professional", "startup", "nothing"]
    found = shop.v1.prices.list({
        "lookup_keys": keys, "active": True, "expand": ["data.product"],
    })  # fmt: skip
    named = {one.lookup_key: one.product.name for one in found.data}
    assert named == {"developer": "developer", "professional": "professional"}


def flow(shop: Shop, small: Any, big: Any, subscription: Any, kind: str) -> Any:
    """A portal session straight to a change of plan, and back to the shop afterwards."""
    details: dict[str, Any] = {"subscription": subscription.id}
    if kind == "subscription_update_confirm":
        item = subscription["items"].data[0].id
        details["items"] = [{"id": item, "price": big.id, "quantity": 1}]
    feature = {
        "enabled": True,
        "default_allowed_updates": ["price"],
        "proration_behavior": "always_invoice",
        "products": [{"product": one.product, "prices": [one.id]} for one in (small, big)],
    }
    features = {
        "features": {
            "subscription_update": feature,
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
        }
    }
    shop.v1.billing_portal.configurations.create(features)
    after = {"type": "redirect", "redirect": {"return_url": "http://127.0.0.1:9/changed"}}
    return shop.v1.billing_portal.sessions.create(
        {
            "customer": subscription.customer,
            "return_url": "http://127.0.0.1:9/me",
            "flow_data": {"type": kind, kind: details, "after_completion": after},
        }
    )


@pytest.mark.parametrize("kind", ["subscription_update", "subscription_update_confirm"])
def test_changing_the_plan_in_the_portal_leads_back_to_the_shop(shop: Shop, kind: str) -> None:
    small, big = shop.price(1200), shop.price(2900)
    subscription = shop.subscribe(small)
    shop.advance(days=14)
    portal = flow(shop, small, big, subscription, kind)
    assert portal.flow.after_completion.redirect.return_url == "http://127.0.0.1:9/changed"
    place = shop.browser.get(portal.url).headers["location"]
    if kind == "subscription_update":
        form = {"subscription": subscription.id, "price": big.id}
        assert "29.00 USD per month" in shop.browser.get(place).text
        place = shop.browser.post(place, data=form).headers["location"]
    assert "8.50 USD" in shop.browser.get(place).text
    done = shop.browser.post(place)
    assert (done.status_code, done.headers["location"]) == (303, "http://127.0.0.1:9/changed")
    changed = shop.v1.subscriptions.retrieve(subscription.id)
    assert changed["items"].data[0].price.id == big.id
    assert changed["items"].data[0].current_period_end > shop_now(shop).timestamp()


def test_the_success_url_names_the_session(shop: Shop) -> None:
    session = lifetime(shop)
    reply = shop.pay(session)
    assert reply.headers["location"] == SUCCESS.replace("{CHECKOUT_SESSION_ID}", session.id)
