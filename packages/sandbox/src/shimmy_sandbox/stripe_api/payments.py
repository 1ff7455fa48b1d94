"""Taking money: what a card or another method does when it is charged."""

from __future__ import annotations

from typing import Literal, TypeAlias

from shimmy_sandbox.stripe_api.books import Books, public
from shimmy_sandbox.stripe_api.cards import Decline, TestCard, card_of
from shimmy_sandbox.stripe_api.shapes import catalogue
from shimmy_sandbox.stripe_api.shapes.payments import charge, payment_intent
from shimmy_sandbox.stripe_api.store import Document

Verdict: TypeAlias = Literal["pays", "challenge"] | Decline

AUTHENTICATION_FAILED = Decline(
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. Please choose a different payment method "
    "and try again.",
)
NO_METHOD = Decline(
    "missing",
    None,
    "There is no default payment method set on this customer or subscription.",
)
_REFUSED_LATER = Decline(
    "payment_method_provider_decline", None, "The payment was refused by its provider."
)
ASYNC_KINDS = ("alipay", "wechat_pay")
ASYNC_SECONDS = 3600


def verdict(card: TestCard, *, set_up: bool, authenticated: bool) -> Verdict:
    """What ``card`` does to a customer who is there; ``set_up``: it was authenticated before."""
    asks = card.challenge == "always" or (card.challenge == "unless-set-up" and not set_up)
    if asks and not authenticated:
        return "challenge"
    return card.decline or "pays"


def new_card_method(books: Books, card: TestCard, details: Document) -> Document:
    """A payment method for ``card``, entered but not yet anybody's."""
    method = catalogue.payment_method(books.now, "card", details)
    method["card"] = catalogue.card_details(card)
    return {**method, "_card": card.number, "_set_up": False}


def attach(books: Books, method: Document, customer: str) -> Document:
    """``method`` as the customer's; announced."""
    attached = {**method, "customer": customer}
    books.add(attached)
    books.announce("payment_method.attached", attached)
    return attached


def new_intent(
    books: Books, amount: int, currency: str, customer: str | None, **fields: object
) -> Document:
    """A payment intent entered in the books and announced."""
    intent = {**payment_intent(books.now, amount, currency, customer), **fields}
    return books.add(intent, "payment_intent.created")


def succeed(books: Books, intent: Document, method: Document) -> Document:
    """``intent`` paid by ``method``; a dispute follows where the card brings one."""
    paid = charge(books.now, intent, method)
    paid |= {"status": "succeeded", "paid": True, "captured": True}
    paid |= {"amount_captured": intent["amount"], "outcome": _outcome("authorized", None)}
    paid["receipt_url"] = None
    known = card_of(method.get("_card", "")) if method.get("_card") else None
    if isinstance(known, TestCard):
        paid["_refunds"] = known.refund
        if known.dispute:
            paid |= {"_due": books.now, "_dispute": [known.dispute, known.inquiry]}
    books.add(paid, "charge.succeeded")
    changes = {
        "status": "succeeded",
        "amount_received": intent["amount"],
        "latest_charge": paid["id"],
        "payment_method": method["id"],
        "payment_method_types": [method["type"]],
        "last_payment_error": None,
        "next_action": None,
    }
    intent = books.change(intent, changes)
    books.announce("payment_intent.succeeded", intent)
    return intent


def fail(books: Books, intent: Document, method: Document | None, decline: Decline) -> Document:
    """``intent`` refused; with a method the attempt leaves a failed charge."""
    error: Document = {
        "type": "card_error",
        "code": decline.code,
        "message": decline.message,
        "doc_url": f"https://stripe.com/docs/error-codes/{decline.code.replace('_', '-')}",
    }
    changes: Document = {"status": "requires_payment_method", "next_action": None}
    if decline.decline_code:
        error["decline_code"] = decline.decline_code
    if method is not None:
        error["payment_method"] = public(method)
        refused = charge(books.now, intent, method)
        refused |= {"status": "failed", "failure_code": decline.code}
        refused |= {"failure_message": decline.message}
        reason = decline.decline_code or decline.code
        refused["outcome"] = _outcome("issuer_declined", reason)
        books.add(refused, "charge.failed")
        error["charge"] = refused["id"]
        changes["latest_charge"] = refused["id"]
    intent = books.change(intent, {**changes, "payment_method": None, "last_payment_error": error})
    books.announce("payment_intent.payment_failed", intent)
    return intent


def ask_for_authentication(
    books: Books, intent: Document, method: str | None, url: str
) -> Document:
    """``intent`` waiting for 3D Secure at ``url``."""
    action = {"type": "redirect_to_url", "redirect_to_url": {"return_url": None, "url": url}}
    changes = {"status": "requires_action", "next_action": action, "payment_method": method}
    intent = books.change(intent, changes)
    books.announce("payment_intent.requires_action", intent)
    return intent


def begin_later(books: Books, intent: Document, method: Document, outcome: str) -> Document:
    """``intent`` in the hands of a provider who will say ``succeed`` or ``fail`` in an hour."""
    pending = charge(books.now, intent, method)
    books.add(pending, "charge.pending")
    changes = {
        "status": "processing",
        "payment_method": method["id"],
        "payment_method_types": [method["type"]],
        "latest_charge": pending["id"],
        "_due": books.now + ASYNC_SECONDS,
        "_outcome": outcome,
    }
    intent = books.change(intent, changes)
    books.announce("payment_intent.processing", intent)
    return intent


def settle_later(books: Books, intent: Document) -> Document:
    """The provider has spoken; the charge and ``intent`` say what."""
    pending = books.get("charge", intent["latest_charge"])
    if intent["_outcome"] == "succeed":
        paid = {"status": "succeeded", "paid": True, "captured": True}
        paid |= {"amount_captured": pending["amount"], "outcome": _outcome("authorized", None)}
        books.announce("charge.succeeded", books.change(pending, paid))
        changes = {"status": "succeeded", "amount_received": intent["amount"], "_due": None}
        intent = books.change(intent, changes)
        books.announce("payment_intent.succeeded", intent)
        return intent
    refused = {"status": "failed", "failure_code": _REFUSED_LATER.code}
    refused |= {"failure_message": _REFUSED_LATER.message}
    books.announce("charge.failed", books.change(pending, refused))
    intent = books.change(intent, {"_due": None})
    return fail(books, intent, None, _REFUSED_LATER)


def _outcome(kind: str, reason: str | None) -> Document:
    approved = kind == "authorized"
    return {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": "approved_by_network" if approved else "declined_by_network",
        "reason": reason,
        "risk_level": "normal",
        "risk_score": 12,
        "seller_message": "Payment complete." if approved else "The bank declined the payment.",
        "type": kind,
    }
