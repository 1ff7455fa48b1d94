"""What happens when a customer presses Pay: challenges, declines, and what is bought."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from shimmy_sandbox.stripe_api import invoicing, item_lines, lifecycle, payments
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.cards import Decline, TestCard, card_of
from shimmy_sandbox.stripe_api.parameters import merged_metadata
from shimmy_sandbox.stripe_api.shapes import catalogue
from shimmy_sandbox.stripe_api.store import Document

_INTENT_FIELDS = [
    "description",
    "receipt_email",
    "setup_future_usage",
    "statement_descriptor",
    "statement_descriptor_suffix",
]


@dataclass(frozen=True, slots=True)
class Payer:
    """What a customer wrote on the page.

    ``kind``     card, alipay or wechat_pay
    ``outcome``  of the last two, an hour later: succeed or fail
    """

    email: str
    name: str
    kind: str = "card"
    number: str = ""
    outcome: str = "succeed"

    @property
    def details(self) -> Document:
        """The billing details of what they pay with."""
        return catalogue.billing_details(self.email, self.name)


@dataclass(frozen=True, slots=True)
class PayResult:
    """Where the page goes: on, to the challenge, or back with a decline in words."""

    step: Literal["done", "challenge", "declined"]
    session: Document
    message: str = ""


def needs_method(books: Books, session: Document) -> bool:
    """Whether nobody can complete ``session`` without something to pay with.

    What is bought once and costs nothing needs none; a subscription that costs nothing does, unless
    it is asked for only ``if_required``.
    """
    always = session["payment_method_collection"] == "always"
    return _charged(books, session) > 0 or (session["mode"] == "subscription" and always)


def pay_session(
    books: Books, session: Document, payer: Payer, *, authenticated: bool = False
) -> PayResult:
    """One press of Pay on an open session."""
    if not needs_method(books, session) and (session["mode"] == "payment" or not payer.number):
        return PayResult("done", _bought(books, session, payer, None))
    if payer.kind != "card":
        method = catalogue.payment_method(books.now, payer.kind, payer.details)
        return PayResult("done", _bought(books, session, payer, method))
    card = card_of(payer.number)
    if not isinstance(card, TestCard):
        return PayResult("declined", session, card.message)
    method = payments.new_card_method(books, card, payer.details)
    said = payments.verdict(card, set_up=False, authenticated=authenticated)
    if said == "pays":
        method["_set_up"] = authenticated
        return PayResult("done", _bought(books, session, payer, method))
    if said == "challenge":
        return PayResult("challenge", _challenged(books, session, payer))
    if card.number[-4:] == "4241":
        # A number that cannot exist never reaches a bank.
        return PayResult("declined", session, said.message)
    return _refused(books, session, method, said)


def _challenged(books: Books, session: Document, payer: Payer) -> Document:
    session, intent = _intent(books, session)
    if intent is not None:
        url = f"{books.origin}/c/pay/{session['id']}/challenge"
        payments.ask_for_authentication(books, intent, None, url)
    held = {"email": payer.email, "name": payer.name, "number": payer.number}
    return books.change(session, {"_challenge": held})


def _refused(books: Books, session: Document, method: Document | None, why: Decline) -> PayResult:
    session, intent = _intent(books, session)
    if intent is not None:
        if method is not None:
            books.add(method)
        payments.fail(books, intent, method, why)
    return PayResult("declined", books.change(session, {"_challenge": None}), why.message)


def answer_challenge(books: Books, session: Document, *, passed: bool) -> PayResult:
    """The customer came back from 3D Secure."""
    held = session["_challenge"]
    payer = Payer(held["email"], held["name"], number=held["number"])
    if passed:
        return pay_session(books, session, payer, authenticated=True)
    return _refused(books, session, None, payments.AUTHENTICATION_FAILED)


def _intent(books: Books, session: Document) -> tuple[Document, Document | None]:
    """The session's payment intent, made at the first attempt; None where nothing is charged."""
    amount, currency = _charged(books, session), session["currency"]
    if amount == 0:
        return session, None
    if session["_intent"]:
        return session, books.get("payment_intent", session["_intent"])
    data = session["_intent_data"]
    fields = {name: data[name] for name in _INTENT_FIELDS if name in data}
    fields["metadata"] = merged_metadata({}, data.get("metadata"))
    if session["mode"] == "subscription":
        fields |= {"description": "Subscription creation", "setup_future_usage": "off_session"}
    made = payments.new_intent(books, amount, currency, session["customer"], **fields)
    return books.change(session, {"_intent": made["id"]}), made


def _charged(books: Books, session: Document) -> int:
    """What is taken from the card: a subscription's first invoice settles what was left open."""
    owner = books.store.get(session["customer"]) if session["customer"] else None
    total = int(session["amount_total"])
    if owner is not None and session["mode"] == "subscription":
        waiting = invoicing.waiting_lines(owner, session["currency"])
        total += owner.get("balance", 0) + sum(line["amount"] for line in waiting)
    return max(total, 0)


def _bought(books: Books, session: Document, payer: Payer, method: Document | None) -> Document:
    customer = _customer(books, session, payer)
    session, intent = _intent(books, session)
    if intent is not None and customer is not None:
        intent = books.change(intent, {"customer": customer})
    keeps = session["mode"] == "subscription" or session["_intent_data"].get("setup_future_usage")
    if method is not None and customer is not None and keeps:
        method = payments.attach(books, method, customer)
    elif method is not None:
        method = books.add(method)
    if intent is not None and method is not None:
        if payer.kind == "card":
            intent = payments.succeed(books, intent, method)
        else:
            intent = payments.begin_later(books, intent, method, payer.outcome)
    changes: Document = {"customer": customer}
    if session["mode"] == "subscription":
        changes |= _subscribed(books, session, str(customer), method, intent)
    elif intent is not None:
        changes["payment_intent"] = intent["id"]
        if customer is not None and session["invoice_creation"]["enabled"]:
            changes["invoice"] = _receipt(books, session, customer, intent)["id"]
    return _completed(books, session, payer, intent, changes)


def _customer(books: Books, session: Document, payer: Payer) -> str | None:
    if session["customer"]:
        customer = books.get("customer", session["customer"])
        changes = {}
        if session["_customer_update"].get("name") == "auto" and payer.name:
            changes["name"] = payer.name
        books.change(customer, changes, "customer.updated")
        return str(customer["id"])
    # Without a payment there are no guests: what costs nothing is always somebody's.
    if session["customer_creation"] != "always" and session["amount_total"]:
        return None
    made = catalogue.customer(books.now)
    made |= {"email": payer.email, "name": payer.name or None, "_indexed": books.now}
    return str(books.add(made, "customer.created")["id"])


def _subscribed(
    books: Books,
    session: Document,
    customer: str,
    method: Document | None,
    intent: Document | None,
) -> Document:
    data = session["_subscription_data"]
    fields = {
        "metadata": merged_metadata({}, data.get("metadata")),
        "description": data.get("description"),
        "default_payment_method": method["id"] if method else None,
    }
    if data.get("billing_mode", {}).get("type") == "classic":
        fields["billing_mode"] = {"flexible": None, "type": "classic"}
    bought = [(item["price"], item["quantity"]) for item in session["_items"]]
    subscription = lifecycle.unsaved_subscription(books, customer, bought, fields)
    lines, reason = lifecycle.first_lines(subscription, bought), "subscription_create"
    invoice = invoicing.unsaved_draft(books, customer, reason, lines, subscription)
    subscription = lifecycle.with_bill(subscription, invoice)
    books.add(subscription, "customer.subscription.created")
    invoice = invoicing.enter(books, invoice)
    if intent is not None:
        invoicing.link_payment(books, invoice, intent)
    invoice = invoicing.finalise(books, invoice)
    if invoice["status"] == "open":
        invoicing.settle(books, invoice)
    return {"subscription": subscription["id"], "invoice": invoice["id"]}


def _receipt(books: Books, session: Document, customer: str, intent: Document) -> Document:
    """The invoice of a one-time purchase."""
    bought = [(item["price"], item["quantity"]) for item in session["_items"]]
    made = item_lines.one_time_lines(books.now, bought, None)
    lines = [
        {**line, "description": item["description"]}
        for line, item in zip(made, session["_items"], strict=True)
    ]
    data = session["invoice_creation"]["invoice_data"]
    invoice = invoicing.draft(books, customer, "manual", lines)
    metadata = merged_metadata({}, data["metadata"])
    invoice = books.change(invoice, {"metadata": metadata, "description": data["description"]})
    invoicing.link_payment(books, invoice, intent)
    invoice = invoicing.finalise(books, invoice)
    return invoicing.settle(books, invoice) if intent["status"] == "succeeded" else invoice


def _completed(
    books: Books, session: Document, payer: Payer, intent: Document | None, changes: Document
) -> Document:
    paid = intent is not None and intent["status"] == "succeeded"
    status = "paid" if paid else "no_payment_required" if intent is None else "unpaid"
    details: Document = {
        "address": None,
        "business_name": None,
        "email": payer.email,
        "individual_name": None,
        "name": payer.name or None,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    terms = (session["consent_collection"] or {}).get("terms_of_service") == "required"
    session = books.change(
        session,
        {
            **changes,
            "status": "complete",
            "payment_status": status,
            "customer_details": details,
            "consent": {"promotions": None, "terms_of_service": "accepted"} if terms else None,
            "url": None,
            "_challenge": None,
            "_due": None,
        },
    )
    completed = books.announce("checkout.session.completed", session)
    return books.change(session, {"_completed": completed["id"]})


def payment_settled(books: Books, intent: Document) -> None:
    """An asynchronous payment came to its end: its session says so."""
    intent = payments.settle_later(books, intent)
    found = books.store.find("checkout.session", payment_intent=intent["id"])
    paid = intent["status"] == "succeeded"
    for session in found:
        if paid and session["invoice"]:
            invoicing.settle(books, books.get("invoice", session["invoice"]))
        session = books.change(session, {"payment_status": "paid" if paid else "unpaid"})
        kind = "async_payment_succeeded" if paid else "async_payment_failed"
        books.announce(f"checkout.session.{kind}", session)
