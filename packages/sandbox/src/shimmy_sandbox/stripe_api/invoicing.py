"""Invoices: drafted, finalised, paid or not paid."""

from __future__ import annotations

from collections.abc import Sequence

from shimmy_sandbox.stripe_api import item_lines, payments
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.cards import Decline, test_card
from shimmy_sandbox.stripe_api.periods import DAY
from shimmy_sandbox.stripe_api.shapes import billing
from shimmy_sandbox.stripe_api.shapes.payments import invoice_payment
from shimmy_sandbox.stripe_api.store import Document

DRAFT_SECONDS = 3600
"""A renewal's invoice stays a draft so long."""
RETRY_DAYS = (3, 5, 7)
AFTER_RETRIES = "cancel"
_EMBEDDED_LINES = 10
"""An invoice shows so many; all of them are a list of their own."""


def draft(
    books: Books,
    customer: str,
    reason: str,
    lines: Sequence[Document],
    subscription: Document | None = None,
) -> Document:
    """A draft of ``lines``, announced; ``reason`` is its billing_reason."""
    return enter(books, unsaved_draft(books, customer, reason, lines, subscription))


def enter(books: Books, invoice: Document) -> Document:
    """A draft in the books and announced; what it collects waits no more."""
    customer = books.store.get(invoice["customer"]) or {}
    collected = waiting_lines(customer, invoice["currency"]) if invoice["parent"] else []
    if collected:
        left = [line for line in customer["_waiting"] if line not in collected]
        books.change(customer, {"_waiting": left})
    return books.add(invoice, "invoice.created")


def wait(books: Books, subscription: Document, lines: Sequence[Document]) -> None:
    """Leave ``lines`` of a subscription that ends to the customer's next invoice."""
    customer = books.get("customer", subscription["customer"])
    kept = [{**line, "subscription": subscription["id"]} for line in lines]
    books.change(customer, {"_waiting": [*kept, *customer.get("_waiting", [])]})


def waiting_lines(customer: Document, currency: str) -> list[Document]:
    """What the next invoice of one of the customer's subscriptions collects."""
    return [line for line in customer.get("_waiting", []) if line["currency"] == currency]


def unsaved_draft(
    books: Books,
    customer: str,
    reason: str,
    lines: Sequence[Document],
    subscription: Document | None = None,
) -> Document:
    """The same, only to look at."""
    owner = books.store.get(customer) or {"id": customer}
    currency = lines[0]["currency"] if lines else (subscription or {}).get("currency", "usd")
    made = billing.invoice(books.now, owner, currency, reason)
    entered = list(lines)
    if subscription is not None:
        entered = [{**line, "subscription": subscription["id"]} for line in entered]
        entered += waiting_lines(owner, currency)
        details = {"metadata": subscription["metadata"], "subscription": subscription["id"]}
        made["parent"] = {
            "quote_details": None,
            "subscription_details": details,
            "type": "subscription_details",
        }
    entered = [{**line, "invoice": made["id"]} for line in item_lines.in_order(entered)]
    total = sum(line["amount"] for line in entered)
    more = len(entered) > _EMBEDDED_LINES
    made["lines"] = {**made["lines"], "data": entered[:_EMBEDDED_LINES], "has_more": more}
    made["_lines"] = entered
    for name in ("subtotal", "subtotal_excluding_tax", "total", "total_excluding_tax"):
        made[name] = total
    balance = owner.get("balance", 0)
    due = max(total + balance, 0)
    return made | {"amount_due": due, "amount_remaining": due, "starting_balance": balance}


def lines_of(invoice: Document) -> list[Document]:
    """Every line of ``invoice``, also those that it does not embed."""
    # Invoices of older state files embed them all.
    found: list[Document] = invoice.get("_lines", invoice["lines"]["data"])
    return found


def finalise(books: Books, invoice: Document) -> Document:
    """``invoice`` open, with its number; what the customer's balance covers is settled by it."""
    customer = books.store.get(invoice["customer"])
    if customer is None:
        raise LookupError(invoice["customer"])
    balance, number = customer["balance"], customer["next_invoice_sequence"]
    left = invoice["total"] + balance
    due = max(left, 0)
    ending = min(left, 0)
    numbered = books.change(customer, {"next_invoice_sequence": number + 1})
    books.change(numbered, {"balance": ending}, "customer.updated")
    changes = {
        "amount_due": due,
        "amount_remaining": due,
        "starting_balance": balance,
        "ending_balance": ending,
        "effective_at": books.now,
        "hosted_invoice_url": f"{books.origin}/i/{invoice['id']}",
        "invoice_pdf": f"{books.origin}/i/{invoice['id']}?pdf",
        "number": f"{customer['invoice_prefix']}-{number:04d}",
        "status": "open",
        "automatically_finalizes_at": None,
        "status_transitions": {**invoice["status_transitions"], "finalized_at": books.now},
        "_due": None,
    }
    invoice = books.change(invoice, changes)
    books.announce("invoice.finalized", invoice)
    return invoice if due else settle(books, invoice)


def link_payment(books: Books, invoice: Document, intent: Document) -> Document:
    """The invoice payment that says which intent pays ``invoice``."""
    return books.add(invoice_payment(books.now, invoice, intent["id"]))


def payment_of(books: Books, invoice: Document) -> Document | None:
    """The newest payment of ``invoice``, if it has one."""
    found = books.store.find("invoice_payment", invoice=invoice["id"])
    return found[0] if found else None


def settle(books: Books, invoice: Document) -> Document:
    """``invoice`` paid; announced, and so is its payment."""
    charged = invoice["amount_due"] > 0
    paid = books.change(
        invoice,
        {
            "amount_paid": invoice["amount_due"],
            "amount_remaining": 0,
            "attempted": True,
            "attempt_count": invoice["attempt_count"] + (1 if charged else 0),
            "auto_advance": False,
            "next_payment_attempt": None,
            "status": "paid",
            "status_transitions": {**invoice["status_transitions"], "paid_at": books.now},
            "_due": None,
        },
    )
    payment = payment_of(books, invoice)
    if payment is not None:
        moments = {**payment["status_transitions"], "paid_at": books.now}
        done = {"status": "paid", "amount_paid": invoice["amount_due"]}
        payment = books.change(payment, {**done, "status_transitions": moments})
    books.announce("invoice.paid", paid)
    books.announce("invoice.payment_succeeded", paid)
    if payment is not None:
        books.announce("invoice_payment.paid", payment)
    return paid


def intent_of(books: Books, invoice: Document) -> Document:
    """The payment intent of an open invoice, made when it is first needed."""
    payment = payment_of(books, invoice)
    if payment is not None:
        return books.get("payment_intent", payment["payment"]["payment_intent"])
    intent = payments.new_intent(
        books,
        invoice["amount_due"],
        invoice["currency"],
        invoice["customer"],
        description="Subscription update" if invoice["parent"] else None,
        setup_future_usage="off_session",
    )
    link_payment(books, invoice, intent)
    return intent


def charge_invoice(
    books: Books, invoice: Document, method: Document | None, *, on_session: bool
) -> tuple[Document, Decline | None]:
    """Try to pay an open invoice with ``method``; the invoice, and why not.

    Somebody who is there (``on_session``) is taken to pass 3D Secure; nobody does off session.
    """
    intent = intent_of(books, invoice)
    if method is None:
        payments.fail(books, intent, None, payments.NO_METHOD)
        return _unpaid(books, invoice), payments.NO_METHOD
    card = test_card(method["_card"])
    said = payments.verdict(card, set_up=method["_set_up"], authenticated=on_session)
    if said == "pays":
        payments.succeed(books, intent, method)
        return settle(books, invoice), None
    if said == "challenge":
        hosted = str(invoice["hosted_invoice_url"])
        payments.ask_for_authentication(books, intent, method["id"], hosted)
        books.announce("invoice.payment_action_required", invoice)
        return _unpaid(books, invoice), payments.AUTHENTICATION_FAILED
    payments.fail(books, intent, method, said)
    return _unpaid(books, invoice), said


def _unpaid(books: Books, invoice: Document) -> Document:
    days = books.store.setting("retry_days", list(RETRY_DAYS))
    tried = invoice["attempt_count"]
    following = books.now + int(days[tried] * DAY) if tried < len(days) else None
    changes = {
        "attempted": True,
        "attempt_count": tried + 1,
        "next_payment_attempt": following,
        "_due": following,
    }
    invoice = books.change(invoice, changes)
    books.announce("invoice.payment_failed", invoice)
    return invoice


def default_method(books: Books, subscription: Document) -> Document | None:
    """The method renewals are paid with: the subscription's, else the customer's."""
    customer = books.store.get(subscription["customer"]) or {}
    settings = customer.get("invoice_settings") or {}
    for chosen in (
        subscription["default_payment_method"],
        settings.get("default_payment_method"),
    ):
        method = books.store.get(chosen) if chosen else None
        if method is not None and method.get("customer"):
            return method
    return None
