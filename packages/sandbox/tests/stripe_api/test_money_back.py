"""Refunds and disputes, from the payment back to the subscription."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from .conftest import Shop


def bought(shop: Shop, card: str = "4242424242424242") -> Any:
    """A lifetime purchase's payment intent."""
    session = shop.session(shop.price(49900, recurring=None), "payment", customer_creation="always")
    assert shop.pay(session, card).status_code == 303
    done = shop.v1.checkout.sessions.retrieve(session.id, {"expand": ["payment_intent"]})
    return done.payment_intent


def test_from_a_refund_to_its_subscription(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price(), subscription_data={"metadata": {"licence": "l-1"}})
    charge = shop.v1.charges.list({"customer": subscription.customer}).data[0]
    refund = shop.v1.refunds.create({"charge": charge.id, "reason": "requested_by_customer"})
    assert (refund.status, refund.amount) == ("succeeded", 1200)
    asked = {"payment": {"type": "payment_intent", "payment_intent": refund.payment_intent}}
    (link,) = shop.v1.invoice_payments.list(asked).data
    assert (link.status, link.amount_paid) == ("paid", 1200)
    assert shop.v1.invoice_payments.retrieve(link.id).invoice == link.invoice
    details = shop.v1.invoices.retrieve(link.invoice).parent.subscription_details
    assert details.subscription == subscription.id
    assert details.metadata.licence == "l-1"
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert shop.types()[-2:] == ["refund.created", "charge.refunded"]


def test_in_part_and_then_the_rest(shop: Shop) -> None:
    intent = bought(shop)
    part = shop.v1.refunds.create({"payment_intent": intent.id, "amount": 9900})
    charge = shop.v1.charges.retrieve(part.charge, {"expand": ["refunds"]})
    assert (charge.refunded, charge.amount_refunded) == (False, 9900)
    assert [one.id for one in charge.refunds.data] == [part.id]
    with pytest.raises(stripe.InvalidRequestError, match="greater than"):
        shop.v1.refunds.create({"payment_intent": intent.id, "amount": 40001})
    with pytest.raises(stripe.InvalidRequestError, match="positive"):
        shop.v1.refunds.create({"payment_intent": intent.id, "amount": 0})
    rest = shop.v1.refunds.create({"payment_intent": intent.id, "metadata": {"a": "b"}})
    assert (rest.amount, rest.metadata.a) == (40000, "b")
    with pytest.raises(stripe.InvalidRequestError) as refused:
        shop.v1.refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"
    listed = shop.v1.refunds.list({"payment_intent": intent.id})
    assert [one.id for one in listed] == [rest.id, part.id]
    assert shop.v1.refunds.retrieve(part.id).amount == 9900
    change = shop.events("charge.refunded")[-1].data
    assert change.previous_attributes.to_dict() == {"amount_refunded": 9900, "refunded": False}


def test_a_refund_that_waits(shop: Shop) -> None:
    intent = bought(shop, "4000000000007726")
    refund = shop.v1.refunds.create({"payment_intent": intent.id})
    assert refund.status == "pending"
    shop.advance(seconds=60)
    assert shop.v1.refunds.retrieve(refund.id).status == "succeeded"
    updated = shop.events("refund.updated")[-1]
    assert updated.data.previous_attributes.status == "pending"


def test_a_refund_that_fails(shop: Shop) -> None:
    intent = bought(shop, "4000000000005126")
    refund = shop.v1.refunds.create({"payment_intent": intent.id})
    assert refund.status == "succeeded"
    shop.advance(seconds=60)
    failed = shop.v1.refunds.retrieve(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert shop.types()[-2:] == ["refund.updated", "refund.failed"]
    charge = shop.v1.charges.retrieve(refund.charge)
    assert (charge.refunded, charge.amount_refunded) == (False, 0)


def test_nothing_to_refund(shop: Shop) -> None:
    session = shop.session(shop.price(recurring=None), "payment")
    shop.pay(session, "4000000000000002")
    intent = shop.events("payment_intent.payment_failed")[0].data.object
    with pytest.raises(stripe.InvalidRequestError, match="did not succeed"):
        shop.v1.refunds.create({"payment_intent": intent.id})


@pytest.mark.parametrize(
    ("card", "reason", "status"),
    [
        ("4000000000000259", "fraudulent", "needs_response"),
        ("4000000000002685", "product_not_received", "needs_response"),
        ("4000000000001976", "fraudulent", "warning_needs_response"),
    ],
)
def test_cards_that_bring_disputes(shop: Shop, card: str, reason: str, status: str) -> None:
    intent = bought(shop, card)
    (dispute,) = shop.v1.disputes.list({"payment_intent": intent.id}).data
    assert (dispute.reason, dispute.status) == (reason, status)
    assert shop.v1.charges.retrieve(dispute.charge).disputed
    types = shop.types()
    assert types.index("charge.dispute.created") > types.index("checkout.session.completed")
    inquiry = status.startswith("warning")
    assert ("charge.dispute.funds_withdrawn" in types) is not inquiry
    if inquiry:
        assert shop.v1.refunds.create({"charge": dispute.charge}).status == "succeeded"
    else:
        with pytest.raises(stripe.InvalidRequestError, match="charged back"):
            shop.v1.refunds.create({"charge": dispute.charge})
    ending = "warning_closed" if inquiry else "lost"
    wrong = shop.browser.post(
        f"/_sim/disputes/{dispute.id}", json={"status": "won" if inquiry else "warning_closed"}
    )
    assert wrong.status_code == 400
    shop.control(f"disputes/{dispute.id}", {"status": "under_review"})
    shop.control(f"disputes/{dispute.id}", {"status": ending})
    assert shop.v1.disputes.retrieve(dispute.id).status == ending
    assert shop.types()[-3:] == [
        "charge.dispute.updated", "charge.dispute.updated", "charge.dispute.closed",
    ]  # fmt: skip
    again = shop.browser.post(f"/_sim/disputes/{dispute.id}", json={"status": ending})
    assert again.status_code == 400


def test_disputes_on_request(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    charge = shop.v1.charges.list().data[0]
    order = {"charge": charge.id, "reason": "subscription_canceled"}
    dispute = shop.control("disputes", order)
    assert dispute["reason"] == "subscription_canceled"
    assert shop.browser.post("/_sim/disputes", json=order).status_code == 400
    shop.control(f"disputes/{dispute['id']}", {"status": "won"})
    assert "charge.dispute.funds_reinstated" in shop.types()
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert shop.v1.disputes.list({"charge": charge.id}).data[0].status == "won"


def test_payment_intents_are_listed(shop: Shop) -> None:
    intent = bought(shop)
    assert [one.id for one in shop.v1.payment_intents.list({"customer": intent.customer})] == [
        intent.id
    ]
    assert shop.v1.payment_intents.retrieve(intent.id).amount_received == 49900
