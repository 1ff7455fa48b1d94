"""Checkout: sessions, their page, every test card."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from .conftest import SUCCESS, Shop

BOUGHT = [
    "payment_intent.succeeded",
    "customer.subscription.created",
    "invoice.created",
    "invoice.finalized",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice_payment.paid",
    "checkout.session.completed",
]


def test_a_paid_page_opens_a_subscription(shop: Shop) -> None:
    price = shop.price(key="developer")
    session = shop.session(
        price,
        client_reference_id="order-7",
        metadata={"plan": "developer"},
        subscription_data={"metadata": {"tier": "one"}, "description": "Developer"},
    )
    assert (session.status, session.payment_status, session.livemode) == ("open", "unpaid", False)
    assert session.amount_total == 1200
    assert session.customer is None
    page = shop.browser.get(session.url)
    assert page.status_code == 200
    assert "12.00 USD" in page.text
    assert "per month" in page.text
    reply = shop.pay(session)
    assert reply.status_code == 303
    assert reply.headers["location"] == SUCCESS.replace("{CHECKOUT_SESSION_ID}", session.id)
    done = shop.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["subscription.latest_invoice.payments", "customer", "line_items"]}
    )
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert done.customer.email == done.customer_details.email == "ada@example.com"
    assert done.client_reference_id == "order-7"
    assert done.payment_intent is None
    assert done.line_items.data[0].price.lookup_key == "developer"
    subscription = done.subscription
    assert subscription.status == "active"
    assert subscription.metadata.tier == "one"
    assert subscription.billing_mode.type == "flexible"
    assert not hasattr(subscription, "current_period_end")
    item = subscription["items"].data[0]
    assert item.price.lookup_key == "developer"
    assert item.current_period_end - item.current_period_start == 28 * 86400
    invoice = subscription.latest_invoice
    assert (invoice.status, invoice.billing_reason) == ("paid", "subscription_create")
    assert invoice.parent.subscription_details.subscription == subscription.id
    assert invoice.parent.subscription_details.metadata.tier == "one"
    assert invoice.payments.data[0].payment.payment_intent.startswith("pi_")
    assert not hasattr(invoice, "subscription")
    types = shop.types()
    assert types[-len(BOUGHT) :] == BOUGHT
    assert types.index("customer.created") < types.index("charge.succeeded")


def test_what_was_bought_is_bought_once(shop: Shop) -> None:
    session = shop.session(shop.price())
    assert shop.pay(session).status_code == 303
    before = shop.types()
    again = shop.pay(session)
    assert again.status_code == 200
    assert "Already paid" in again.text
    assert SUCCESS.replace("{CHECKOUT_SESSION_ID}", session.id) in again.text
    assert shop.types() == before
    assert len(shop.v1.subscriptions.list().data) == 1


def test_a_lifetime_purchase_has_a_customer_when_asked_to(shop: Shop) -> None:
    price = shop.price(49900, recurring=None)
    session = shop.session(
        price,
        "payment",
        customer_creation="always",
        payment_intent_data={"metadata": {"plan": "lifetime"}},
        invoice_creation={"enabled": True, "invoice_data": {"metadata": {"a": "b"}}},
    )
    assert shop.pay(session).status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent", "invoice"]})
    assert done.customer.startswith("cus_")
    assert done.subscription is None
    assert done.payment_intent.status == "succeeded"
    assert done.payment_intent.metadata.plan == "lifetime"
    assert (done.invoice.status, done.invoice.parent) == ("paid", None)
    assert done.invoice.metadata.a == "b"
    guest = shop.session(price, "payment")
    assert shop.pay(guest).status_code == 303
    assert shop.v1.checkout.sessions.retrieve(guest.id).customer is None


DECLINES = {
    "4000000000000002": ("card_declined", "generic_decline", "Your card was declined."),
    "4000000000009995": ("card_declined", "insufficient_funds", "insufficient funds"),
    "4000000000000069": ("expired_card", None, "expired"),
    "4000000000000127": ("incorrect_cvc", None, "security code is incorrect"),
    "4000000000000119": ("processing_error", None, "processing your card"),
    "4000000000000341": ("card_declined", "generic_decline", "Your card was declined."),
}


@pytest.mark.parametrize("card", DECLINES)
def test_a_declined_card_buys_nothing_and_can_be_replaced(shop: Shop, card: str) -> None:
    session = shop.session(shop.price())
    code, decline_code, words = DECLINES[card]
    reply = shop.pay(session, card)
    assert reply.status_code == 402
    assert words in reply.text.replace("&#39;", "'")
    assert 'value="ada@example.com"' in reply.text
    assert shop.v1.checkout.sessions.retrieve(session.id).status == "open"
    assert shop.v1.subscriptions.list({"status": "all"}).data == []
    assert shop.v1.customers.list().data == []
    failed = shop.events("payment_intent.payment_failed")[-1].data.object
    assert failed.last_payment_error.code == code
    assert getattr(failed.last_payment_error, "decline_code", None) == decline_code
    charge = shop.v1.charges.retrieve(failed.latest_charge)
    assert (charge.status, charge.failure_code) == ("failed", code)
    assert shop.pay(session).status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["invoice.payments"]})
    assert done.invoice.payments.data[0].payment.payment_intent == failed.id


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ("4242424242424241", "number is incorrect"),
        ("4111111111111111", "no test card"),
        ("12", "number is incorrect"),
        ("", "number is incomplete"),
    ],
)
def test_a_number_that_is_no_test_card_reaches_no_bank(shop: Shop, card: str, words: str) -> None:
    session = shop.session(shop.price())
    reply = shop.pay(session, card)
    assert reply.status_code in (400, 402)
    assert words in reply.text
    assert shop.events("charge.failed") == []


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"email": "nobody"}, "email is invalid"),
        ({"card_expiry": "13/34"}, "expiration date"),
        ({"card_cvc": "1"}, "security code"),
        ({"payment_method": "alipay"}, "not offered"),
    ],
)
def test_the_page_says_what_is_missing(shop: Shop, form: dict[str, str], words: str) -> None:
    reply = shop.pay(shop.session(shop.price()), **form)
    assert reply.status_code == 400
    assert words in reply.text


def test_what_a_customer_types_is_never_html(shop: Shop) -> None:
    reply = shop.pay(shop.session(shop.price()), "12", name="<script>alert(1)</script>")
    assert "<script>" not in reply.text
    assert "&lt;script&gt;" in reply.text


@pytest.mark.parametrize("card", ["4000002500003155", "4000002760003184"])
def test_three_d_secure(shop: Shop, card: str) -> None:
    session = shop.session(shop.price())
    reply = shop.pay(session, card)
    assert reply.status_code == 303
    challenge = reply.headers["location"]
    assert "Complete authentication" in shop.browser.get(challenge).text
    assert shop.events("payment_intent.requires_action")
    failed = shop.browser.post(challenge, data={"outcome": "fail"})
    assert failed.status_code == 402
    assert "unable to authenticate" in failed.text
    assert shop.v1.subscriptions.list().data == []
    assert shop.browser.post(challenge, data={"outcome": "complete"}).headers["location"] == (
        f"/c/pay/{session.id}"
    )
    shop.pay(session, card)
    passed = shop.browser.post(challenge, data={"outcome": "complete"})
    assert passed.headers["location"].startswith("http://127.0.0.1:9/thanks")
    assert shop.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_authenticated_and_declined_all_the_same(shop: Shop) -> None:
    session = shop.session(shop.price())
    challenge = shop.pay(session, "4000008400001629").headers["location"]
    reply = shop.browser.post(challenge, data={"outcome": "complete"})
    assert reply.status_code == 402
    assert "Your card was declined." in reply.text
    assert shop.pay(session).status_code == 303


def test_sessions_expire_by_themselves_and_on_request(shop: Shop) -> None:
    price = shop.price()
    old, kept = shop.session(price), shop.session(price)
    assert shop.v1.checkout.sessions.expire(old.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="expired"):
        shop.v1.checkout.sessions.expire(old.id)
    assert shop.browser.get(old.url).status_code == 410
    assert shop.pay(old).status_code == 410
    shop.advance(hours=23)
    assert shop.v1.checkout.sessions.retrieve(kept.id).status == "open"
    shop.advance(hours=1)
    assert shop.v1.checkout.sessions.retrieve(kept.id).status == "expired"
    expired = [one.data.object.id for one in shop.events("checkout.session.expired")]
    assert expired == [old.id, kept.id]
    soon = shop.session(price, expires_at=kept.expires_at + 1800)
    shop.advance(seconds=1800)
    assert shop.v1.checkout.sessions.retrieve(soon.id).status == "expired"
    with pytest.raises(stripe.InvalidRequestError, match="30 minutes"):
        shop.session(price, expires_at=soon.expires_at)


@pytest.mark.parametrize("outcome", ["succeed", "fail"])
@pytest.mark.parametrize("kind", ["alipay", "wechat_pay"])
def test_asynchronous_payments(shop: Shop, kind: str, outcome: str) -> None:
    price = shop.price(49900, recurring=None)
    offered = ["card", "link", "alipay", "wechat_pay"]
    session = shop.session(price, "payment", allowed_payment_method_types=offered)
    assert session.payment_method_types == offered
    reply = shop.pay(session, "", payment_method=kind, async_outcome=outcome)
    assert reply.status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    assert (done.status, done.payment_status) == ("complete", "unpaid")
    assert done.payment_intent.status == "processing"
    if outcome == "succeed":
        shop.advance(hours=1)
    else:
        shop.control(f"payments/{done.payment_intent.id}", {"outcome": "fail"})
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    paid = outcome == "succeed"
    assert (done.status, done.payment_status) == ("complete", "paid" if paid else "unpaid")
    assert done.payment_intent.status == ("succeeded" if paid else "requires_payment_method")
    last = "succeeded" if paid else "failed"
    assert shop.types()[-1] == f"checkout.session.async_payment_{last}"


def test_a_known_customer_keeps_name_and_email(shop: Shop) -> None:
    customer = shop.v1.customers.create({"email": "Grace@Example.com"})
    session = shop.session(shop.price(), customer=customer.id, customer_update={"name": "auto"})
    assert "Grace@Example.com" in shop.browser.get(session.url).text
    assert shop.pay(session, name="Grace").status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id)
    assert (done.customer, done.customer_details.email) == (customer.id, "Grace@Example.com")
    assert shop.v1.customers.retrieve(customer.id).name == "Grace"


def test_a_subscription_that_costs_nothing(shop: Shop) -> None:
    free = shop.session(shop.price(0))
    assert "number is incomplete" in shop.pay(free, "").text
    declined = shop.pay(free, "4000000000000002")
    assert (declined.status_code, "card was declined" in declined.text) == (402, True)
    assert shop.pay(free).status_code == 303
    expand = {"expand": ["invoice.payments", "subscription"]}
    done = shop.v1.checkout.sessions.retrieve(free.id, expand)
    assert (done.status, done.payment_status) == ("complete", "no_payment_required")
    assert done.subscription.status == "active"
    assert done.subscription.default_payment_method.startswith("pm_")
    invoice = done.invoice
    assert (invoice.status, invoice.total, invoice.amount_paid) == ("paid", 0, 0)
    assert (invoice.billing_reason, len(invoice.lines.data)) == ("subscription_create", 1)
    assert invoice.payments.data == []
    assert shop.v1.payment_intents.list().data == []
    assert shop.v1.charges.list().data == []
    shop.advance(days=28, hours=1)
    renewal = shop.v1.invoices.list({"subscription": done.subscription.id}).data[0]
    assert (renewal.status, renewal.billing_reason) == ("paid", "subscription_cycle")


def test_a_challenge_for_nothing_makes_no_payment(shop: Shop) -> None:
    free = shop.session(shop.price(0))
    challenge = shop.pay(free, "4000002500003155").headers["location"]
    assert shop.browser.post(challenge, data={"outcome": "complete"}).status_code == 303
    done = shop.v1.checkout.sessions.retrieve(free.id)
    assert (done.status, shop.v1.payment_intents.list().data) == ("complete", [])


def test_a_card_only_where_it_is_needed(shop: Shop) -> None:
    free = shop.session(shop.price(0), payment_method_collection="if_required")
    assert shop.pay(free, "").status_code == 303
    done = shop.v1.checkout.sessions.retrieve(free.id, {"expand": ["subscription"]})
    assert done.subscription.default_payment_method is None


@pytest.mark.parametrize("card", ["", "4242424242424242", "4000000000000002"])
def test_buying_once_for_nothing(shop: Shop, card: str) -> None:
    price = shop.price(0, recurring=None)
    session = shop.session(price, "payment", customer_creation="always")
    assert "card_number" not in shop.browser.get(session.url).text
    assert shop.pay(session, card).status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["customer"]})
    assert (done.status, done.payment_status) == ("complete", "no_payment_required")
    assert (done.payment_intent, done.invoice, done.amount_total) == (None, None, 0)
    assert done.customer.email == "ada@example.com"
    assert shop.v1.payment_intents.list().data == []
    assert shop.types()[-1] == "checkout.session.completed"
    asked = {"customer": done.customer.id, "status": "complete"}
    assert [one.id for one in shop.v1.checkout.sessions.list(asked).data] == [session.id]
    assert shop.v1.checkout.sessions.list({**asked, "status": "open"}).data == []


def test_nobody_buys_for_nothing_as_a_guest(shop: Shop) -> None:
    session = shop.session(shop.price(0, recurring=None), "payment")
    assert shop.pay(session, "").status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id)
    assert (done.customer_creation, done.customer[:4]) == ("if_required", "cus_")


def test_credit_is_spent_first(shop: Shop) -> None:
    big = shop.subscribe(shop.price(5000))
    small = shop.price(1000)
    change = {"items": [{"id": big["items"].data[0].id, "price": small.id}]}
    shop.v1.subscriptions.update(big.id, {**change, "proration_behavior": "always_invoice"})
    assert shop.v1.customers.retrieve(big.customer).balance == -4000
    second = shop.session(shop.price(5000), customer=big.customer)
    shop.pay(second)
    invoice = shop.v1.checkout.sessions.retrieve(second.id, {"expand": ["invoice"]}).invoice
    assert (invoice.amount_due, invoice.amount_paid, invoice.status) == (1000, 1000, "paid")
    assert shop.v1.charges.list({"customer": big.customer}).data[0].amount == 1000


def test_terms_must_be_accepted(shop: Shop) -> None:
    session = shop.session(shop.price(), consent_collection={"terms_of_service": "required"})
    assert "accept the terms" in shop.pay(session).text
    assert shop.pay(session, terms="on").status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id)
    assert done.consent.terms_of_service == "accepted"


def test_sessions_are_found_by_what_they_led_to(shop: Shop) -> None:
    price = shop.price()
    first, second = shop.session(price), shop.session(price)
    shop.pay(first)
    done = shop.v1.checkout.sessions.retrieve(first.id)

    def found(**asked: Any) -> list[str]:
        return [one.id for one in shop.v1.checkout.sessions.list(asked).data]

    assert found() == [second.id, first.id]
    assert found(subscription=done.subscription) == [first.id]
    assert found(customer=done.customer) == [first.id]
    assert found(customer=done.customer, status="complete") == [first.id]
    assert found(customer=done.customer, status="open") == []
    assert found(status="open") == [second.id]
    assert found(customer_details={"email": "ada@example.com"}) == [first.id]
    lifetime = shop.session(shop.price(recurring=None), "payment")
    shop.pay(lifetime)
    intent = shop.v1.checkout.sessions.retrieve(lifetime.id).payment_intent
    assert found(payment_intent=intent) == [lifetime.id]
    items = shop.v1.checkout.sessions.line_items.list(first.id)
    assert [item.description for item in items.data] == ["Developer"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"payment_method_types": ["card"]}, "unknown parameter"),
    ({"mode": "setup"}, "not simulated"),
    ({"mode": "payment"}, "recurring price"),
    ({"mode": "gift"}, "must be one of"),
    ({"ui_mode": "elements"}, "not simulated"),
    ({"discounts": [{"coupon": "x"}]}, "not simulated"),
    ({"success_url": "thanks"}, "valid URL"),
    ({"allowed_payment_method_types": ["alipay"]}, "cannot be used"),
    ({"allowed_payment_method_types": ["klarna"]}, "not simulated"),
    ({"customer": "cus_nobody"}, "No such customer"),
    ({"customer_creation": "always"}, "payment"),
    ({"line_items": []}, "Missing required param: line_items"),
    ({"line_items": [{"price": "price_none", "quantity": 1}]}, "No such price"),
    ({"payment_intent_data": {"metadata": {"a": "b"}}}, "can not pass"),
]


@pytest.mark.parametrize(("more", "words"), WRONG, ids=[str(one[0]) for one in WRONG])
def test_wrong_sessions_are_refused(shop: Shop, more: dict[str, Any], words: str) -> None:
    price = shop.price()
    with pytest.raises(stripe.InvalidRequestError, match=words):
        shop.session(price, **more)


def test_pages_that_are_not_there(shop: Shop) -> None:
    for path in ("/", "/c/pay/cs_test_none", "/c/pay", "/p/session/none", "/i/none", "/x/y"):
        reply: httpx.Response = shop.browser.get(path)
        assert reply.status_code == 404, path
