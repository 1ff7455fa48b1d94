"""The hosted page of an invoice.

``POST /i/{invoice}`` pays an open one with the card on file, or with ``card_number`` when one is
given; whoever is there passes 3D Secure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shimmy_sandbox.stripe_api import customers, invoicing, lifecycle
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.cards import TestCard, card_of
from shimmy_sandbox.stripe_api.pages import Page, notice, redirect, rendered
from shimmy_sandbox.stripe_api.shapes.catalogue import billing_details
from shimmy_sandbox.stripe_api.store import Document


def answer(books: Books, method: str, steps: Sequence[str], form: Mapping[str, str]) -> Page | None:
    """The page below ``/i/``; None for another path."""
    if steps[0] != "i" or len(steps) != 2:
        return None
    invoice = books.store.get(steps[1])
    if invoice is None or invoice["object"] != "invoice" or invoice["status"] == "draft":
        return notice(books, "Nothing here", "There is no such invoice.", status=404)
    books = books.for_customer(invoice["customer"])
    if method != "POST" or invoice["status"] != "open":
        return _page(books, invoice)
    number = form.get("card_number", "")
    method_document = _given_card(books, invoice, number) if number else _on_file(books, invoice)
    if isinstance(method_document, str):
        return _page(books, invoice, method_document, 402)
    invoice, refused = lifecycle.pay(books, invoice, method_document, on_session=True)
    if refused is not None:
        return _page(books, invoice, refused.message, 402)
    return redirect(f"/i/{invoice['id']}")


def _page(books: Books, invoice: Document, problem: str = "", status: int = 200) -> Page:
    lines = invoicing.lines_of(invoice)
    shown = {"invoice": invoice, "lines": lines, "problem": problem}
    return rendered(books, "invoice.html", status=status, **shown)


def _on_file(books: Books, invoice: Document) -> Document | None:
    subscription = lifecycle.subscription_of(books, invoice)
    return invoicing.default_method(books, subscription) if subscription else None


def _given_card(books: Books, invoice: Document, number: str) -> Document | str:
    card = card_of(number)
    if not isinstance(card, TestCard):
        return card.message
    if card.decline and card.decline_at_entry:
        return card.decline.message
    details = billing_details(invoice["customer_email"], invoice["customer_name"])
    return customers.attach_card(books, card, invoice["customer"], details)
