"""Refunds: whole or in part, at once or later, or failed."""

from __future__ import annotations

from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, paged_by_store
from shimmy_sandbox.stripe_api.parameters import merged_metadata
from shimmy_sandbox.stripe_api.shapes.payments import refund
from shimmy_sandbox.stripe_api.store import Document, matching
from shimmy_sandbox.stripe_api.wire import invalid, missing

LATER_SECONDS = 60
"""When the refunds of the two refund cards come to their end."""


def create_refund(call: Call) -> Document:
    """Give back what is left of a charge, or ``amount`` of it."""
    charge = _charge(call)
    books = call.books.for_customer(charge["customer"])
    left = charge["amount"] - charge["amount_refunded"]
    _check_refundable(charge, left)
    amount = call.params.get("amount", left)
    if amount <= 0:
        raise invalid("Invalid positive integer", "amount", "parameter_invalid_integer")
    if amount > left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise invalid(message, "amount")
    made = refund(books.now, charge, amount)
    made |= call.given("reason")
    made["metadata"] = merged_metadata({}, call.params.get("metadata"))
    later = charge.get("_refunds", "ok")
    if later != "ok":
        made["_due"] = books.now + LATER_SECONDS
        made["_ends"] = "succeeded" if later == "pending" else "failed"
    if later == "pending":
        made["status"] = "pending"
    books.add(made, "refund.created")
    refunded = charge["amount_refunded"] + amount
    changes = {"amount_refunded": refunded, "refunded": refunded == charge["amount"]}
    previous = {name: charge[name] for name in changes}
    charge = books.change(charge, changes)
    books.announce("charge.refunded", charge, previous)
    return made


def _charge(call: Call) -> Document:
    given = call.params
    if "charge" in given:
        return call.books.get("charge", given["charge"], "charge")
    if "payment_intent" not in given:
        raise missing("charge")
    intent = call.books.get("payment_intent", given["payment_intent"], "payment_intent")
    if intent["latest_charge"] is None:
        message = f"PaymentIntent {intent['id']} does not have a successful charge to refund."
        raise invalid(message, "payment_intent")
    return call.books.get("charge", intent["latest_charge"])


def _check_refundable(charge: Document, left: int) -> None:
    if charge["status"] != "succeeded":
        raise invalid(f"Charge {charge['id']} did not succeed and cannot be refunded.", "charge")
    if left == 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise invalid(message, code="charge_already_refunded")
    if charge["disputed"] and not charge.get("_inquired"):
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise invalid(message, code="charge_disputed")


def refund_due(books: Books, made: Document) -> None:
    """A refund comes to its end: the money arrives, or comes back to us."""
    if made["_ends"] == "succeeded":
        books.change(made, {"status": "succeeded", "_due": None}, "refund.updated")
        return
    changes = {"status": "failed", "failure_reason": "expired_or_canceled_card", "_due": None}
    failed = books.change(made, changes, "refund.updated")
    books.announce("refund.failed", failed)
    charge = books.get("charge", made["charge"])
    left = charge["amount_refunded"] - made["amount"]
    books.change(charge, {"amount_refunded": left, "refunded": False})


def list_refunds(call: Call) -> Document:
    """Refunds, newest first."""
    return paged_by_store(call, "refund", matching(**call.given("charge", "payment_intent")))


def show_refund(call: Call) -> Document:
    """One refund."""
    return call.named("refund")
