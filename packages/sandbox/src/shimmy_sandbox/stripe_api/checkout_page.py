"""The hosted checkout page.

Form fields of ``POST /c/pay/{session}``: ``email`` (required unless the session knows the
customer's), ``name``, ``payment_method`` (card, alipay, wechat_pay; default card), ``card_number``,
``card_expiry`` (MM/YY), ``card_cvc``, ``terms`` (on, where terms must be accepted),
``async_outcome`` (succeed, fail: what alipay and wechat_pay do an hour later). The answer is 303 to
the success URL or to the challenge, or 402 with the page and why the card was declined.
``POST /c/pay/{session}/challenge``: ``outcome`` (complete, fail).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.pages import Page, cycle_words, notice, redirect, rendered
from shimmy_sandbox.stripe_api.payments import ASYNC_KINDS
from shimmy_sandbox.stripe_api.purchase import (
    Payer,
    PayResult,
    answer_challenge,
    needs_method,
    pay_session,
)
from shimmy_sandbox.stripe_api.store import Document

_INCOMPLETE = "Your card's {} is incomplete."
_PLACEHOLDER = "{CHECKOUT_SESSION_ID}"


def answer(books: Books, method: str, steps: Sequence[str], form: Mapping[str, str]) -> Page | None:
    """The page below ``/c/pay/``; None for another path."""
    if steps[:2] != ["c", "pay"] or len(steps) not in (3, 4):
        return None
    session = books.store.get(steps[2])
    if session is None or session["object"] != "checkout.session":
        return notice(books, "Nothing here", "There is no such checkout page.", status=404)
    books = books.for_customer(session["customer"])
    if session["status"] != "open":
        return _closed(books, session)
    if len(steps) == 4:
        return _challenge(books, method, session, form) if steps[3] == "challenge" else None
    if method == "POST":
        return _pay(books, session, form)
    return _form(books, session, form)


def _closed(books: Books, session: Document) -> Page:
    if session["status"] == "complete":
        done = (success_url(session), "Continue")
        return notice(books, "Already paid", "This checkout is complete.", link=done)
    back = session["cancel_url"]
    link = (back, "Back to the shop") if back else None
    text = "This checkout page has expired. Nothing was charged."
    return notice(books, "Expired", text, status=410, link=link)


def success_url(session: Document) -> str:
    """Where a completed session leads, with its id filled in."""
    return str(session["success_url"]).replace(_PLACEHOLDER, session["id"])


def _form(
    books: Books, session: Document, form: Mapping[str, str], problem: str = "", status: int = 200
) -> Page:
    customer = books.store.get(session["customer"]) if session["customer"] else None
    known = (customer or {}).get("email") or session["customer_email"]
    methods = ["card"] if {"card", "link"} & set(session["payment_method_types"]) else []
    methods += [kind for kind in session["payment_method_types"] if kind in ASYNC_KINDS]
    items = [{**item, "cycle": cycle_words(item["price"])} for item in session["_items"]]
    terms = (session["consent_collection"] or {}).get("terms_of_service") == "required"
    return rendered(
        books,
        "checkout.html",
        status=status,
        session=session,
        items=items,
        methods=methods,
        card_fields="card" in methods
        and (session["mode"] == "subscription" or needs_method(books, session)),
        known_email=known,
        form=form,
        problem=problem,
        terms=terms,
        submit="Subscribe" if session["mode"] == "subscription" else "Pay",
        said=(session["custom_text"]["submit"] or {}).get("message"),
    )


def _pay(books: Books, session: Document, form: Mapping[str, str]) -> Page:
    problem = _wrong(books, session, form)
    if problem:
        return _form(books, session, form, problem, 400)
    payer = Payer(
        email=_email(books, session, form),
        name=form.get("name", ""),
        kind=form.get("payment_method", "card"),
        number=form.get("card_number", ""),
        outcome=form.get("async_outcome", "succeed"),
    )
    return _result(books, pay_session(books, session, payer), form)


def _email(books: Books, session: Document, form: Mapping[str, str]) -> str:
    customer = books.store.get(session["customer"]) if session["customer"] else None
    known = (customer or {}).get("email") or session["customer_email"]
    return str(known or form.get("email", ""))


def _wrong(books: Books, session: Document, form: Mapping[str, str]) -> str:
    """What the customer must put right first; empty when nothing."""
    email = _email(books, session, form)
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", email):
        return "Your email is invalid."
    kind = form.get("payment_method", "card")
    offered = session["payment_method_types"]
    if kind not in offered and not (kind == "card" and "link" in offered):
        return f"{kind} is not offered here."
    if form.get("async_outcome", "succeed") not in ("succeed", "fail"):
        return "async_outcome is succeed or fail."
    terms = (session["consent_collection"] or {}).get("terms_of_service") == "required"
    if terms and not form.get("terms"):
        return "Please accept the terms of service."
    # Whoever buys once for nothing is not asked for a card: what was sent all the same is ignored.
    optional = session["mode"] == "subscription" and bool(form.get("card_number"))
    needed = needs_method(books, session) or optional
    return _wrong_card(form) if kind == "card" and needed else ""


def _wrong_card(form: Mapping[str, str]) -> str:
    if not form.get("card_number"):
        return _INCOMPLETE.format("number")
    if not re.fullmatch(r"(0[1-9]|1[0-2])\s*/\s*\d{2}", form.get("card_expiry", "")):
        return _INCOMPLETE.format("expiration date")
    if not re.fullmatch(r"\d{3,4}", form.get("card_cvc", "")):
        return _INCOMPLETE.format("security code")
    return ""


def _challenge(books: Books, method: str, session: Document, form: Mapping[str, str]) -> Page:
    if not session["_challenge"]:
        return redirect(f"/c/pay/{session['id']}")
    outcome = form.get("outcome")
    if method != "POST" or outcome not in ("complete", "fail"):
        action = f"/c/pay/{session['id']}/challenge"
        amount = (session["amount_total"], session["currency"])
        return rendered(books, "challenge.html", action=action, amount=amount, kept={})
    held = session["_challenge"]
    result = answer_challenge(books, session, passed=outcome == "complete")
    return _result(books, result, {"email": held["email"], "name": held["name"]})


def _result(books: Books, result: PayResult, form: Mapping[str, str]) -> Page:
    session = result.session
    if result.step == "challenge":
        return redirect(f"/c/pay/{session['id']}/challenge")
    if result.step == "declined":
        return _form(books, session, form, result.message, 402)
    return redirect(success_url(session), after=session["_completed"])
