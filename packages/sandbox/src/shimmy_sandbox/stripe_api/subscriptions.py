"""Subscriptions through the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shimmy_sandbox.stripe_api import lifecycle, plan_changes
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, paged_by_store
from shimmy_sandbox.stripe_api.cards import Decline
from shimmy_sandbox.stripe_api.parameters import merged_metadata
from shimmy_sandbox.stripe_api.store import Condition, Document, matching
from shimmy_sandbox.stripe_api.wire import RefusalError, card_refusal, invalid, unsimulated

_BEHAVIOURS = ("allow_incomplete", "error_if_incomplete")


def list_subscriptions(call: Call) -> Document:
    """Subscriptions, newest first; without ``status`` the cancelled ones are left out."""
    given = call.params
    tests = matching(**call.given("customer", "collection_method", "test_clock"))
    wanted = given.get("status")
    if wanted is None:
        tests.append(Condition("json_extract(body, '$.status') <> 'canceled'"))
    elif wanted == "ended":
        tests.append(Condition("json_extract(body, '$.ended_at') IS NOT NULL"))
    elif wanted != "all":
        tests += matching(status=wanted)
    if "price" in given:
        priced = "SELECT 1 FROM json_each(body, '$.items.data')"
        price = "json_extract(value, '$.price.id') = ?"
        tests.append(Condition(f"EXISTS ({priced} WHERE {price})", (given["price"],)))
    return paged_by_store(call, "subscription", tests)


def show_subscription(call: Call) -> Document:
    """One subscription."""
    return call.named("subscription")


def update_subscription(call: Call) -> Document:
    """Change plan, cancellation, payment method or metadata."""
    subscription, given = call.named("subscription"), call.params
    if subscription["status"] == "canceled":
        message = "A canceled subscription can only update its cancellation_details and metadata."
        raise invalid(message, code="invalid_canceled_subscription_fields")
    books = call.books.for_customer(subscription["customer"])
    anew = given.get("billing_cycle_anchor", {}).get("type") == "now"
    changes = _plain_changes(books, subscription, given)
    moves = _cancellation(books.now, subscription, given)
    if "items" not in given and not anew:
        return _update_plain(books, subscription, changes, moves)
    subscription = books.change(subscription, changes)
    if moves:
        subscription = lifecycle.set_cancellation(books, subscription, moves)
    return _update_items(books, subscription, given, anew=anew)


def _update_plain(
    books: Books, subscription: Document, changes: Document, moves: dict[str, Any]
) -> Document:
    if moves:
        return lifecycle.set_cancellation(books, subscription, {**changes, **moves})
    return books.change(subscription, changes, "customer.subscription.updated")


def _plain_changes(books: Books, subscription: Document, given: Mapping[str, Any]) -> Document:
    changes: Document = {}
    if "metadata" in given:
        changes["metadata"] = merged_metadata(subscription["metadata"], given["metadata"])
    if "description" in given:
        changes["description"] = given["description"]
    method = given.get("default_payment_method")
    if method is not None:
        found = books.get("payment_method", method, "default_payment_method")
        if found["customer"] != subscription["customer"]:
            message = f"The customer does not have a payment method with the ID {method}"
            raise invalid(message, "default_payment_method", "resource_missing")
    if "default_payment_method" in given:
        changes["default_payment_method"] = method
    return changes


def _cancellation(now: int, subscription: Document, given: Mapping[str, Any]) -> dict[str, Any]:
    moves: dict[str, Any] = {}
    if "cancel_at_period_end" in given:
        asked = given["cancel_at_period_end"]
        moves["cancel_at_period_end"] = asked
        moves["cancel_at"] = lifecycle.current_end(subscription) if asked else None
    if "cancel_at" in given:
        if "cancel_at_period_end" in given:
            message = (
                "You may only specify one of these parameters: cancel_at, cancel_at_period_end"
            )
            raise invalid(message, "cancel_at", "parameters_exclusive")
        asked = given["cancel_at"]
        if isinstance(asked, str):
            asked = lifecycle.current_end(subscription)
        if asked is not None and asked <= now:
            raise invalid("The cancel_at timestamp must be in the future", "cancel_at")
        moves |= {"cancel_at": asked, "cancel_at_period_end": False}
    if "cancellation_details" in given:
        moves["cancellation_details"] = dict(given["cancellation_details"])
    return moves


def _update_items(
    books: Books, subscription: Document, given: Mapping[str, Any], *, anew: bool
) -> Document:
    behaviour = given.get("payment_behavior", "allow_incomplete")
    if behaviour not in _BEHAVIOURS:
        raise unsimulated(f"payment_behavior={behaviour}")
    asked = given.get("items", [])
    wanted = plan_changes.wanted_items(books, subscription, asked, "items")
    proration = given.get("proration_behavior", "create_prorations")
    when = _proration_date(books, subscription, given)
    change = plan_changes.planned(books.now, subscription, wanted, when=when, anew=anew)
    subscription, refused = plan_changes.change_now(books, subscription, change, proration)
    if refused is not None and behaviour == "error_if_incomplete":
        raise _undone(refused)
    return subscription


def _undone(refused: Decline) -> RefusalError:
    declined = card_refusal(refused.message, refused.code, refused.decline_code)
    declined.keep = False
    return declined


def _proration_date(books: Books, subscription: Document, given: Mapping[str, Any]) -> int:
    when = int(given.get("proration_date", books.now))
    start = min(item["current_period_start"] for item in subscription["items"]["data"])
    if not start <= when <= lifecycle.current_end(subscription):
        raise invalid("The proration date must be within the current period", "proration_date")
    return when


def cancel_subscription(call: Call) -> Document:
    """Cancel at once; ``prorate`` and ``invoice_now`` say what is still settled, and when."""
    subscription = call.named("subscription")
    if subscription["status"] == "canceled":
        raise invalid(f"No such subscription: {subscription['id']}", "id", "resource_missing", 404)
    books = call.books.for_customer(subscription["customer"])
    subscription = plan_changes.close_account(
        books,
        subscription,
        prorate=call.params.get("prorate", False),
        invoice_now=call.params.get("invoice_now", False),
    )
    said = call.params.get("cancellation_details", {})
    details = {**subscription["cancellation_details"], **said}
    subscription = books.change(subscription, {"cancellation_details": details})
    return lifecycle.cancel(books, subscription, "cancellation_requested")


def resume_subscription(call: Call) -> Document:
    """A paused subscription runs again, from now on by a new billing cycle."""
    subscription = call.named("subscription")
    if subscription["status"] != "paused":
        raise invalid(f"The subscription {subscription['id']} is not paused")
    return lifecycle.resume(call.books.for_customer(subscription["customer"]), subscription)
