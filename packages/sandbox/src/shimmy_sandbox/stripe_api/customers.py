"""Customers and the ways they pay."""

from __future__ import annotations

from typing import Any

from shimmy_sandbox.stripe_api import lifecycle, payments
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, paged, paged_by_store
from shimmy_sandbox.stripe_api.cards import TOKENS, Decline, TestCard, test_card
from shimmy_sandbox.stripe_api.parameters import merged_metadata
from shimmy_sandbox.stripe_api.shapes import catalogue
from shimmy_sandbox.stripe_api.store import Condition, Document, matching
from shimmy_sandbox.stripe_api.wire import card_refusal, invalid

_FIELDS = [
    "business_name",
    "description",
    "email",
    "individual_name",
    "invoice_prefix",
    "name",
    "phone",
    "preferred_locales",
    "tax_exempt",
]
_LONGEST_EMAIL = 512


def create_customer(call: Call) -> Document:
    """A customer, by a test clock when one is named."""
    books, clock = call.books, None
    if call.params.get("test_clock"):
        clock = books.get("test_helpers.test_clock", call.params["test_clock"], "test_clock")
        books = books.at(clock["frozen_time"])
    customer = catalogue.customer(books.now)
    if clock is not None:
        customer |= {"test_clock": clock["id"], "_clock": clock["id"]}
    customer |= _changes(books, customer, call.params)
    customer["_indexed"] = call.books.now
    customer = books.add(customer, "customer.created")
    if call.params.get("payment_method"):
        _attached(books, call.params["payment_method"], customer["id"], "payment_method")
    return customer


def update_customer(call: Call) -> Document:
    """Change a customer."""
    customer = call.named("customer")
    changes = _changes(call.books, customer, call.params)
    changes["_indexed"] = call.books.now
    books = call.books.for_customer(customer["id"])
    return books.change(customer, changes, "customer.updated")


def _changes(books: Books, customer: Document, given: Any) -> Document:
    changes = _texts(given)
    if "address" in given:
        changes["address"] = catalogue.address(**given["address"]) if given["address"] else None
    if "shipping" in given:
        shipping = given["shipping"]
        if shipping:
            shipping = {**shipping, "address": catalogue.address(**shipping["address"])}
        changes["shipping"] = shipping
    if "invoice_settings" in given:
        asked = given["invoice_settings"]
        method = asked.get("default_payment_method")
        if method is not None:
            _owned(books, method, customer["id"])
        changes["invoice_settings"] = {**customer["invoice_settings"], **asked}
    if "metadata" in given:
        changes["metadata"] = merged_metadata(customer["metadata"], given["metadata"])
    return changes


def _texts(given: Any) -> Document:
    changes = {name: given[name] for name in _FIELDS if name in given}
    for name in ("business_name", "individual_name"):
        if name in changes:
            # Text or absent, never null; what was cleared stays as empty text.
            changes[name] = changes[name] or ""
    email = changes.get("email")
    if email is not None and ("@" not in email[1:-1] or len(email) > _LONGEST_EMAIL):
        raise invalid(f"Invalid email address: {email}", "email", "email_invalid")
    if "preferred_locales" in changes:
        changes["preferred_locales"] = changes["preferred_locales"] or []
    return changes


def _owned(books: Books, method: str, customer: str) -> None:
    param = "invoice_settings[default_payment_method]"
    found = books.get("payment_method", method, param)
    if found["customer"] != customer:
        message = "The customer does not have a payment method with the ID " + method
        raise invalid(message, param, "resource_missing")


def list_customers(call: Call) -> Document:
    """Customers, newest first; ``email`` is compared letter by letter."""
    there = Condition("json_extract(body, '$.deleted') IS NULL")
    return paged_by_store(call, "customer", [there, *matching(**call.given("email", "test_clock"))])


def show_customer(call: Call) -> Document:
    """A customer; one that was deleted says so."""
    found = call.books.store.get(call.id)
    if found is not None and found["object"] == "customer" and found.get("deleted"):
        return found
    return call.named("customer")


def delete_customer(call: Call) -> Document:
    """Delete a customer and cancel what they subscribe to."""
    customer = call.named("customer")
    books = call.books.for_customer(customer["id"])
    for subscription in books.store.find("subscription", customer=customer["id"]):
        if subscription["status"] in (*lifecycle.LIVING, "paused"):
            lifecycle.cancel(books, subscription, "cancellation_requested")
    for method in books.store.find("payment_method", customer=customer["id"]):
        books.change(method, {"customer": None})
    books.announce("customer.deleted", customer)
    kept = {"id": customer["id"], "object": "customer", "deleted": True}
    # What was bought stays billed to the name it was bought under.
    books.store.save({**kept, "_clock": customer.get("_clock")})
    return kept


def list_payment_methods(call: Call) -> Document:
    """A customer's payment methods, newest first."""
    customer = call.named("customer")
    kind = call.given("type")
    return paged(call, call.books.store.find("payment_method", customer=customer["id"], **kind))


def show_payment_method(call: Call) -> Document:
    """One payment method."""
    return call.named("payment_method")


def attach_payment_method(call: Call) -> Document:
    """Attach one of Stripe's ready-made methods (``pm_card_visa``) or a detached one."""
    customer = call.books.get("customer", call.params["customer"], "customer")
    books = call.books.for_customer(customer["id"])
    return _attached(books, call.id, customer["id"], None)


def _attached(books: Books, named: str, customer: str, param: str | None) -> Document:
    if named not in TOKENS:
        method = books.get("payment_method", named, param)
        if method["customer"] not in (None, customer):
            raise invalid("The payment method is attached to another customer", param)
        changed = books.change(method, {"customer": customer})
        books.announce("payment_method.attached", changed)
        return changed
    card = test_card(TOKENS[named])
    return attach_card(books, card, customer, catalogue.billing_details())


def attach_card(books: Books, card: TestCard, customer: str, details: Document) -> Document:
    """``card`` as the customer's payment method; 402 for one that cannot even be attached."""
    if isinstance(card.decline, Decline) and card.decline_at_entry:
        declined = card.decline
        raise card_refusal(declined.message, declined.code, declined.decline_code)
    method = payments.new_card_method(books, card, details)
    return payments.attach(books, method, customer)


def detach_payment_method(call: Call) -> Document:
    """Take a payment method from its customer; it can be charged no more."""
    method = call.named("payment_method")
    if method["customer"] is None:
        raise invalid("The payment method you provided is not attached to a customer")
    books = call.books.for_customer(method["customer"])
    changed = books.change(method, {"customer": None})
    books.announce("payment_method.detached", changed, {"customer": method["customer"]})
    return changed
