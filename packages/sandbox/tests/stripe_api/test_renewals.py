"""Time passes: renewals, month ends, failed payments, recovery, the end of a period."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from shimmy_sandbox.stripe_api.periods import DAY, add_intervals, period_end, share

from .conftest import START, Shop, unix

RENEWED = [
    "invoice.created",
    "customer.subscription.updated",
    "invoice.finalized",
    "payment_intent.created",
    "charge.succeeded",
    "payment_intent.succeeded",
    "invoice.paid",
    "invoice.payment_succeeded",
    "invoice_payment.paid",
]


def ends(shop: Shop, subscription: str) -> int:
    found = shop.v1.subscriptions.retrieve(subscription)
    return int(found["items"].data[0].current_period_end)


def test_a_month_that_ends_on_the_31st(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    seen = [ends(shop, subscription.id)]
    before = len(shop.types())
    for _ in range(3):
        shop.advance(seconds=seen[-1] - unix(shop_now(shop)) + 3600)
        seen.append(ends(shop, subscription.id))
    days = [datetime.fromtimestamp(end, UTC) for end in seen]
    assert [(day.month, day.day, day.hour) for day in days] == [
        (2, 28, 12), (3, 31, 12), (4, 30, 12), (5, 31, 12),
    ]  # fmt: skip
    assert shop.types(before) == RENEWED * 3
    invoices = shop.v1.invoices.list({"subscription": subscription.id}).data
    assert [one.status for one in invoices] == ["paid"] * 4
    assert [one.billing_reason for one in invoices] == [
        *["subscription_cycle"] * 3, "subscription_create",
    ]  # fmt: skip
    assert invoices[0].lines.data[0].period.start == seen[2]
    assert invoices[0].created == seen[2]
    assert invoices[0].period_end == seen[2]
    assert len({one.number for one in invoices}) == 4


def shop_now(shop: Shop) -> datetime:
    return datetime.fromisoformat(shop.browser.get("/_sim/clock").json()["now"])


def test_three_months_at_once_happen_one_after_the_other(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    before = len(shop.types())
    shop.advance(days=95)
    assert shop.types(before) == RENEWED * 3
    events = shop.events("invoice.paid")
    assert [one.created for one in events] == sorted(one.created for one in events)
    assert events[-1].created == events[-1].data.object.created + 3600
    assert events[-1].request.id is None
    updated = shop.events("customer.subscription.updated")[-1]
    previous = updated.data.previous_attributes
    assert set(previous.to_dict()) == {"items", "latest_invoice"}
    assert updated.data.object.id == subscription.id


def test_a_draft_is_an_hour_old_when_it_is_charged(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    shop.advance(days=28)
    invoice = shop.v1.invoices.list({"subscription": subscription.id}).data[0]
    assert (invoice.status, invoice.automatically_finalizes_at) == (
        "draft", invoice.created + 3600,
    )  # fmt: skip
    shop.advance(seconds=3599)
    assert shop.v1.invoices.retrieve(invoice.id).status == "draft"
    shop.advance(seconds=1)
    assert shop.v1.invoices.retrieve(invoice.id).status == "paid"


def put_failing_card(shop: Shop, customer: str, card: str = "4000000000000341") -> None:
    portal = shop.portal(customer)
    reply = shop.browser.post(f"{portal.url}/card", data={"card_number": card})
    if "authentication" in reply.text:
        kept = {"card_number": card, "authentication": "complete"}
        reply = shop.browser.post(f"{portal.url}/card", data=kept)
    assert reply.status_code == 303, reply.text


@pytest.mark.parametrize("final", ["cancel", "unpaid", "past_due"])
def test_a_failed_renewal_is_tried_again_and_then_ends(shop: Shop, final: str) -> None:
    shop.control("billing", {"retry_days": [1, 2], "after_retries": final})
    subscription = shop.subscribe(shop.price())
    put_failing_card(shop, subscription.customer)
    shop.advance(days=28)
    before = len(shop.types())
    shop.advance(hours=1)
    assert shop.types(before) == [
        "invoice.finalized",
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
        "invoice.payment_failed",
        "customer.subscription.updated",
    ]
    failed = shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    invoice = failed.latest_invoice
    assert failed.status == "past_due"
    assert (invoice.status, invoice.attempt_count) == ("open", 1)
    assert invoice.next_payment_attempt == unix(shop_now(shop)) + DAY
    shop.advance(days=1)
    assert shop.v1.invoices.retrieve(invoice.id).attempt_count == 2
    shop.advance(days=2)
    after = shop.v1.subscriptions.retrieve(subscription.id)
    assert after.status == {"cancel": "canceled"}.get(final, final)
    last = shop.v1.invoices.retrieve(invoice.id)
    assert (last.attempt_count, last.next_payment_attempt, last.status) == (3, None, "open")
    if final == "cancel":
        assert after.cancellation_details.reason == "payment_failed"
        assert shop.types()[-1] == "customer.subscription.deleted"
    if final == "unpaid":
        shop.advance(days=31)
        newest = shop.v1.invoices.list({"subscription": subscription.id}).data[0]
        assert (newest.status, newest.auto_advance) == ("draft", False)


def test_a_new_card_recovers_the_subscription(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    put_failing_card(shop, subscription.customer)
    shop.advance(days=28, hours=1)
    portal = shop.portal(subscription.customer)
    assert "past_due" in shop.browser.get(portal.url).text
    card = {"card_number": "4242424242424242"}
    assert shop.browser.post(f"{portal.url}/card", data=card).status_code == 303
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "past_due"
    before = len(shop.types())
    shop.advance(days=3)
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"
    assert shop.types(before) == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice.paid",
        "invoice.payment_succeeded",
        "invoice_payment.paid",
        "customer.subscription.updated",
    ]
    change = shop.events("customer.subscription.updated")[-1].data.previous_attributes
    assert change.status == "past_due"


def test_an_open_invoice_is_paid_on_its_page_or_in_the_portal(shop: Shop) -> None:
    first, second = shop.subscribe(shop.price()), shop.subscribe(shop.price())
    for subscription in (first, second):
        put_failing_card(shop, subscription.customer)
    shop.advance(days=28, hours=1)
    invoice = shop.v1.invoices.list({"subscription": first.id, "status": "open"}).data[0]
    page = shop.browser.get(invoice.hosted_invoice_url)
    assert "Pay 12.00 USD" in page.text
    refused = shop.browser.post(invoice.hosted_invoice_url)
    assert refused.status_code == 402
    paid = shop.browser.post(
        invoice.hosted_invoice_url, data={"card_number": "4242 4242 4242 4242"}
    )
    assert paid.status_code == 303
    assert shop.v1.subscriptions.retrieve(first.id).status == "active"
    portal = shop.portal(second.customer)
    shop.browser.post(f"{portal.url}/card", data={"card_number": "4242424242424242"})
    owed = shop.v1.invoices.list({"subscription": second.id, "status": "open"}).data[0]
    assert "Pay now" in shop.browser.get(portal.url).text
    assert shop.browser.post(f"{portal.url}/pay", data={"invoice": owed.id}).status_code == 303
    assert shop.v1.subscriptions.retrieve(second.id).status == "active"
    foreign = shop.browser.post(f"{portal.url}/pay", data={"invoice": invoice.id})
    assert foreign.status_code == 400


@pytest.mark.parametrize(
    ("card", "renews"), [("4000002500003155", True), ("4000002760003184", False)]
)
def test_three_d_secure_at_renewal(shop: Shop, card: str, renews: bool) -> None:
    subscription = shop.subscribe(shop.price(), card)
    shop.advance(days=28, hours=1)
    after = shop.v1.subscriptions.retrieve(subscription.id, {"expand": ["latest_invoice"]})
    assert after.status == ("active" if renews else "past_due")
    asked = shop.events("invoice.payment_action_required")
    assert bool(asked) is not renews
    if not renews:
        page = after.latest_invoice.hosted_invoice_url
        assert shop.browser.post(page).status_code == 303
        assert shop.v1.subscriptions.retrieve(subscription.id).status == "active"


def test_cancellation_at_the_end_of_the_period(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    end = ends(shop, subscription.id)
    changed = shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert (changed.cancel_at, changed.cancel_at_period_end) == (end, True)
    assert changed.status == "active"
    back = shop.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False})
    assert (back.cancel_at, back.canceled_at) == (None, None)
    shop.v1.subscriptions.update(subscription.id, {"cancel_at": "min_period_end"})
    before = len(shop.types())
    shop.advance(days=28)
    ended = shop.v1.subscriptions.retrieve(subscription.id)
    assert (ended.status, ended.ended_at) == ("canceled", end)
    assert shop.types(before) == ["customer.subscription.deleted"]
    shop.advance(days=62)
    assert len(shop.v1.invoices.list({"subscription": subscription.id}).data) == 1
    assert shop.v1.subscriptions.list().data == []
    assert [one.id for one in shop.v1.subscriptions.list({"status": "ended"})] == [ended.id]


def test_a_subscription_cannot_have_ended(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    with pytest.raises(stripe.InvalidRequestError, match="future"):
        shop.v1.subscriptions.update(subscription.id, {"cancel_at": unix(START)})
    later = shop.v1.subscriptions.update(subscription.id, {"cancel_at": unix(START) + 5 * DAY})
    assert later.cancel_at == unix(START) + 5 * DAY
    shop.advance(days=5)
    assert shop.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="canceled subscription"):
        shop.v1.subscriptions.update(subscription.id, {"cancel_at": ""})
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        shop.v1.subscriptions.cancel(subscription.id)


def test_cancelled_at_once(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    asked = {"cancellation_details": {"comment": "bye", "feedback": "unused"}}
    ended = shop.v1.subscriptions.cancel(subscription.id, asked)
    assert (ended.status, ended.ended_at) == ("canceled", unix(START))
    assert ended.cancellation_details.feedback == "unused"
    assert shop.types()[-1] == "customer.subscription.deleted"


def test_pausing_and_resuming(shop: Shop) -> None:
    subscription = shop.subscribe(shop.price())
    shop.control(f"pause/{subscription.id}")
    assert shop.types()[-2:] == ["customer.subscription.updated", "customer.subscription.paused"]
    shop.advance(days=40)
    assert len(shop.v1.invoices.list({"subscription": subscription.id}).data) == 1
    resumed = shop.v1.subscriptions.resume(subscription.id)
    assert resumed.status == "active"
    assert resumed["items"].data[0].current_period_start == unix(shop_now(shop))
    assert shop.events("customer.subscription.resumed")
    assert shop.v1.invoices.list({"subscription": subscription.id}).data[0].status == "paid"


def test_a_test_clock_moves_only_its_customers(shop: Shop) -> None:
    clock = shop.v1.test_helpers.test_clocks.create({"frozen_time": unix(START), "name": "one"})
    customer = shop.v1.customers.create({"email": "c@example.com", "test_clock": clock.id})
    bound = shop.subscribe(shop.price(), customer=customer.id)
    free = shop.subscribe(shop.price())
    assert bound.test_clock == clock.id
    assert (bound.created, free.test_clock) == (unix(START), None)
    advanced = shop.v1.test_helpers.test_clocks.advance(
        clock.id, {"frozen_time": unix(START) + 28 * DAY + 3600}
    )
    assert advanced.status == "ready"
    assert len(shop.v1.invoices.list({"subscription": bound.id}).data) == 2
    assert len(shop.v1.invoices.list({"subscription": free.id}).data) == 1
    assert shop.types()[-1] == "test_helpers.test_clock.ready"
    assert shop.v1.test_helpers.test_clocks.retrieve(clock.id).frozen_time == advanced.frozen_time
    assert shop.v1.test_helpers.test_clocks.delete(clock.id).deleted
    assert [one.id for one in shop.v1.subscriptions.list()] == [free.id]


MOMENTS = st.integers(1_500_000_000, 2_500_000_000)


@given(MOMENTS, st.sampled_from(["day", "week", "month", "year"]), st.integers(1, 12))
def test_periods_follow_each_other_without_gap(anchor: int, interval: str, count: int) -> None:
    end = anchor
    for number in range(1, 6):
        following = period_end(anchor, interval, count, end)
        assert following == add_intervals(anchor, interval, number * count)
        assert period_end(anchor, interval, count, following - 1) == following
        end = following


@given(st.integers(-10_000, 10_000), st.integers(0, 1000), st.integers(1, 1000))
def test_shares_are_rounded_half_away_from_zero(amount: int, part: int, whole: int) -> None:
    exact = amount * part / whole
    assert abs(share(amount, part, whole) - exact) <= 0.5
    assert share(-amount, part, whole) == -share(amount, part, whole)
