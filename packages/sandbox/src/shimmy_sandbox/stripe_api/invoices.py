"""Invoices, invoice payments, payment intents and charges through the API."""

from __future__ import annotations

from typing import Any

from shimmy_sandbox.stripe_api import invoicing, item_lines, lifecycle, plan_changes
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, paged, paged_by_store
from shimmy_sandbox.stripe_api.identity import new_id
from shimmy_sandbox.stripe_api.store import Document, matching
from shimmy_sandbox.stripe_api.wire import card_refusal, invalid, missing


def list_invoices(call: Call) -> Document:
    """Invoices, newest first."""
    fields = call.given("customer", "status", "collection_method")
    if "subscription" in call.params:
        path = "parent__subscription_details__subscription"
        fields[path] = call.params["subscription"]
    return paged_by_store(call, "invoice", matching(**fields))


def show_invoice(call: Call) -> Document:
    """One invoice."""
    return call.named("invoice")


def list_lines(call: Call) -> Document:
    """Every line of an invoice, in its order."""
    return paged(call, invoicing.lines_of(call.named("invoice")))


def pay_invoice(call: Call) -> Document:
    """Try to pay an open invoice now; 402 when the card refuses."""
    invoice = call.named("invoice")
    books = call.books.for_customer(invoice["customer"])
    if invoice["status"] == "paid":
        raise invalid("Invoice is already paid")
    if invoice["status"] == "draft":
        invoice = invoicing.finalise(books, invoice)
    if invoice["status"] == "open":
        method = _method(call, books, invoice)
        invoice, refused = lifecycle.pay(books, invoice, method, on_session=False)
        if refused is not None:
            raise card_refusal(refused.message, refused.code, refused.decline_code)
    return invoice


def _method(call: Call, books: Books, invoice: Document) -> Document | None:
    named = call.params.get("payment_method")
    if named is not None:
        method = books.get("payment_method", named, "payment_method")
        if method["customer"] != invoice["customer"]:
            raise invalid("The payment method is not the customer's", "payment_method")
        return method
    subscription = lifecycle.subscription_of(books, invoice)
    return invoicing.default_method(books, subscription) if subscription else None


def preview_invoice(call: Call) -> Document:
    """What the next invoice of a subscription would be, changed as asked; nothing is kept."""
    given = call.params
    if "subscription" not in given:
        raise missing("subscription")
    subscription = call.books.get("subscription", given["subscription"], "subscription")
    if given.get("customer") not in (None, subscription["customer"]):
        raise invalid("The subscription is not the customer's", "customer")
    if subscription["status"] not in lifecycle.LIVING:
        raise invalid("No upcoming invoices for this subscription", code="invoice_upcoming_none")
    books = call.books.for_customer(subscription["customer"])
    reason, lines = _previewed(books, subscription, given.get("subscription_details", {}))
    customer = subscription["customer"]
    made = invoicing.unsaved_draft(books, customer, reason, lines, subscription)
    return {**made, "id": new_id("upcoming_in")}


def _previewed(
    books: Books, subscription: Document, asked: dict[str, Any]
) -> tuple[str, list[Document]]:
    pending = subscription["_pending"]
    end = lifecycle.current_end(subscription)
    if "items" not in asked:
        return "upcoming", [*pending, *_next_cycle(end, subscription)]
    param = "subscription_details[items]"
    wanted = plan_changes.wanted_items(books, subscription, asked["items"], param)
    behaviour = asked.get("proration_behavior", "create_prorations")
    when = asked.get("proration_date", books.now)
    change = plan_changes.planned(books.now, subscription, wanted, when=when)
    if behaviour == "always_invoice" or change.restarts:
        lines = change.lines
        if behaviour == "none":
            lines = item_lines.period_lines(change.items)
        return "subscription_update", [*lines, *pending]
    changed = {**subscription, **lifecycle.with_items(subscription, change.items)}
    prorated = [] if behaviour == "none" else change.lines
    return "upcoming", [*prorated, *pending, *_next_cycle(end, changed)]


def _next_cycle(end: int, subscription: Document) -> list[Document]:
    return item_lines.period_lines(lifecycle.next_items(end, subscription))


def list_invoice_payments(call: Call) -> Document:
    """Which payments pay which invoices: the way from a refund to its subscription."""
    fields: dict[str, Any] = call.given("invoice", "status")
    payment = call.params.get("payment")
    if payment is not None:
        kind = payment["type"]
        if kind != "payment_intent":
            return paged(call, [])
        fields["payment__payment_intent"] = payment.get("payment_intent")
    return paged_by_store(call, "invoice_payment", matching(**fields))


def show_invoice_payment(call: Call) -> Document:
    """One invoice payment."""
    return call.named("invoice_payment")


def list_payment_intents(call: Call) -> Document:
    """Payment intents, newest first."""
    return paged_by_store(call, "payment_intent", matching(**call.given("customer")))


def show_payment_intent(call: Call) -> Document:
    """One payment intent."""
    return call.named("payment_intent")


def list_charges(call: Call) -> Document:
    """Charges, newest first."""
    return paged_by_store(call, "charge", matching(**call.given("customer", "payment_intent")))


def show_charge(call: Call) -> Document:
    """One charge."""
    return call.named("charge")
