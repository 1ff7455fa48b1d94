"""The customer portal.

Below ``/p/session/{id}``, all by POST with form fields: ``update`` (``subscription``, ``price``)
leads to ``confirm`` (the same fields, by GET shows what it costs, by POST does it); ``cancel``
(``subscription``, ``feedback``, ``comment``); ``keep`` (``subscription``) takes a cancellation
back; ``card`` (``card_number``, ``authentication`` complete or fail after a challenge); ``pay``
(``invoice``). GET shows each action's page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

from shimmy_sandbox.stripe_api import customers, invoicing, lifecycle, payments, plan_changes
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.cards import TestCard, card_of
from shimmy_sandbox.stripe_api.pages import Page, cycle_words, notice, redirect, rendered
from shimmy_sandbox.stripe_api.shapes.catalogue import billing_details
from shimmy_sandbox.stripe_api.store import Document
from shimmy_sandbox.stripe_api.wire import invalid

_OPEN_SECONDS = 3600
_FLOW_PAGES = {
    "payment_method_update": "card",
    "subscription_cancel": "cancel",
    "subscription_update": "update",
    "subscription_update_confirm": "confirm",
}


@dataclass(frozen=True, slots=True)
class Visit:
    """A customer in the portal."""

    books: Books
    session: Document
    customer: Document
    features: Document
    form: Mapping[str, str]

    def url(self, action: str = "", **query: str) -> str:
        """A page of this visit."""
        path = f"/p/session/{self.session['id']}"
        asked = f"?{urlencode(query)}" if query else ""
        return f"{path}/{action}{asked}" if action else f"{path}{asked}"

    def subscription(self) -> Document:
        """The customer's subscription that the form names."""
        found = self.books.get("subscription", self.form.get("subscription", ""), "subscription")
        if found["customer"] != self.customer["id"]:
            raise invalid("The subscription is not yours", "subscription")
        if found["status"] not in lifecycle.LIVING:
            raise invalid("The subscription has ended", "subscription")
        return found

    def allow(self, feature: str) -> Document:
        """The settings of ``feature``; refused when it is switched off."""
        settings: Document = self.features[feature]
        if not settings["enabled"]:
            raise invalid(f"This portal does not offer {feature}")
        return settings


Action: TypeAlias = Callable[[Visit, str], Page]


def answer(books: Books, method: str, steps: Sequence[str], form: Mapping[str, str]) -> Page | None:
    """The page below ``/p/session/``; None for another path."""
    if steps[:2] != ["p", "session"] or len(steps) not in (3, 4):
        return None
    session = books.store.get(steps[2])
    if session is None or session["object"] != "billing_portal.session":
        return notice(books, "Nothing here", "There is no such portal page.", status=404)
    if books.now > session["_used"] + _OPEN_SECONDS:
        text = "This link has expired: ask the shop for another."
        return notice(books, "Expired", text, status=410)
    session = books.change(session, {"_used": books.now})
    books = books.for_customer(session["customer"])
    configuration = books.get("billing_portal.configuration", session["configuration"])
    customer = books.get("customer", session["customer"])
    visit = Visit(books, session, customer, configuration["features"], form)
    action = steps[3] if len(steps) == 4 else ""
    if action == "":
        return _home(visit)
    return _ACTIONS[action](visit, method) if action in _ACTIONS else None


def _home(visit: Visit) -> Page:
    flow = visit.session["flow"]
    if flow and not visit.session.get("_flow_done"):
        return redirect(visit.url(_FLOW_PAGES[flow["type"]], **_flow_query(flow)))
    books = visit.books
    found = books.store.find("subscription", customer=visit.customer["id"])
    running = [one for one in found if one["status"] in lifecycle.LIVING]
    history = visit.features["invoice_history"]["enabled"]
    invoices = books.store.find("invoice", customer=visit.customer["id"]) if history else []
    return rendered(
        books,
        "portal.html",
        visit=visit,
        subscriptions=[_shown(books, one) for one in running],
        invoices=[one for one in invoices if one["status"] != "draft"],
        card=_card_on_file(books, visit.customer, running),
        features=visit.features,
        return_url=visit.session["return_url"],
        done=visit.form.get("done", ""),
    )


def _flow_query(flow: Document) -> dict[str, str]:
    details = flow.get(flow["type"]) or {}
    query = {"subscription": details["subscription"]} if details else {}
    if flow["type"] == "subscription_update_confirm":
        item = details["items"][0]
        query |= {"price": str(item["price"]), "quantity": str(item["quantity"])}
    return query


def _shown(books: Books, subscription: Document) -> Document:
    items = []
    for item in subscription["items"]["data"]:
        product = books.store.get(item["price"]["product"]) or {"name": "?"}
        amount = item["price"]["unit_amount"] * item["quantity"]
        cycle = cycle_words(item["price"])
        items.append({"name": product["name"], "amount": amount, "cycle": cycle})
    return {**subscription, "shown": items, "end": lifecycle.current_end(subscription)}


def _card_on_file(
    books: Books, customer: Document, subscriptions: Sequence[Document]
) -> Document | None:
    for subscription in subscriptions:
        return invoicing.default_method(books, subscription)
    chosen = customer["invoice_settings"]["default_payment_method"]
    return books.store.get(chosen) if chosen else None


def _after(visit: Visit, done: str) -> Page:
    """Where a finished action leads: as its flow says, else back to the portal."""
    flow = visit.session["flow"]
    if flow is None or visit.session.get("_flow_done"):
        return redirect(visit.url(done=done))
    visit.books.change(visit.session, {"_flow_done": True})
    after = flow["after_completion"]
    if after["type"] == "redirect":
        return redirect(after["redirect"]["return_url"])
    if after["type"] == "hosted_confirmation":
        message = (after["hosted_confirmation"] or {}).get("custom_message") or "Done."
        return notice(visit.books, "Done", message)
    return redirect(visit.url(done=done))


def _update(visit: Visit, method: str) -> Page:
    settings = visit.allow("subscription_update")
    subscription = plan_changes.one_item(visit.subscription(), "subscription")
    if method == "POST":
        query = {"subscription": subscription["id"], "price": visit.form.get("price", "")}
        return redirect(visit.url("confirm", **query))
    current = {item["price"]["id"] for item in subscription["items"]["data"]}
    choices = []
    for offered in settings["products"]:
        product = visit.books.get("product", offered["product"])
        for identifier in offered["prices"]:
            price = visit.books.get("price", identifier)
            choices.append({"price": price, "name": product["name"], "cycle": cycle_words(price)})
    choices = [one for one in choices if one["price"]["id"] not in current]
    page: dict[str, Any] = {"visit": visit, "subscription": subscription, "choices": choices}
    return rendered(visit.books, "portal_update.html", **page)


def _confirm(visit: Visit, method: str) -> Page:
    settings = visit.allow("subscription_update")
    subscription = plan_changes.one_item(visit.subscription(), "subscription")
    item = subscription["items"]["data"][0]
    offered = {price for product in settings["products"] for price in product["prices"]}
    price = visit.form.get("price", "")
    if price not in offered:
        raise invalid("This plan is not offered", "price")
    asked: dict[str, Any] = {"id": item["id"], "price": price}
    if visit.form.get("quantity", "").isdigit():
        asked["quantity"] = int(visit.form["quantity"])
    wanted = plan_changes.wanted_items(visit.books, subscription, [asked], "items")
    later = _waits(settings, subscription, wanted)
    if method == "POST":
        return _changed(visit, subscription, wanted, later)
    change = plan_changes.planned(visit.books.now, subscription, wanted)
    prorated = settings["proration_behavior"]
    lines = change.lines if prorated != "none" else []
    return rendered(
        visit.books,
        "portal_confirm.html",
        visit=visit,
        subscription=_shown(visit.books, subscription),
        lines=[] if later else lines,
        later=later,
        price=wanted[0]["price"],
        quantity=wanted[0]["quantity"],
        cycle=cycle_words(wanted[0]["price"]),
        now_due=prorated == "always_invoice" or change.restarts,
    )


def _waits(settings: Document, subscription: Document, wanted: Sequence[Document]) -> bool:
    kinds = {condition["type"] for condition in settings["schedule_at_period_end"]["conditions"]}
    if "decreasing_item_amount" in kinds and plan_changes.lowers(subscription, wanted):
        return True
    return "shortening_interval" in kinds and plan_changes.shortens(subscription, wanted)


def _changed(visit: Visit, subscription: Document, wanted: Sequence[Document], later: bool) -> Page:
    books = visit.books
    if later:
        plan_changes.change_at_period_end(books, subscription, wanted)
        return _after(visit, "Your plan changes at the end of the period.")
    behaviour = visit.features["subscription_update"]["proration_behavior"]
    change = plan_changes.planned(books.now, subscription, wanted)
    _, refused = plan_changes.change_now(books, subscription, change, behaviour)
    if refused is not None:
        # The portal changes nothing that was not paid: the refusal undoes it all.
        raise invalid(refused.message, status=402)
    return _after(visit, "Your plan was changed.")


def _cancel(visit: Visit, method: str) -> Page:
    settings = visit.allow("subscription_cancel")
    subscription = visit.subscription()
    if method != "POST":
        shown = _shown(visit.books, subscription)
        page: dict[str, Any] = {"visit": visit, "subscription": shown, "settings": settings}
        return rendered(visit.books, "portal_cancel.html", **page)
    feedback = visit.form.get("feedback") or None
    if feedback not in (None, *settings["cancellation_reason"]["options"]):
        raise invalid("This reason is not offered", "feedback")
    details = {"feedback": feedback, "comment": visit.form.get("comment") or None}
    if settings["mode"] == "immediately":
        kept = {**subscription["cancellation_details"], **details}
        subscription = visit.books.change(subscription, {"cancellation_details": kept})
        behaviour = settings["proration_behavior"]
        subscription = plan_changes.close_account(
            visit.books,
            subscription,
            prorate=behaviour != "none",
            invoice_now=behaviour == "always_invoice",
        )
        lifecycle.cancel(visit.books, subscription, "cancellation_requested")
        return _after(visit, "Your subscription was cancelled.")
    # Flexible billing: the date is set, cancel_at_period_end stays false.
    flexible = subscription["billing_mode"]["type"] == "flexible"
    moves: dict[str, Any] = {"cancel_at": lifecycle.current_end(subscription)}
    moves |= {"cancel_at_period_end": not flexible, "cancellation_details": details}
    lifecycle.set_cancellation(visit.books, subscription, moves)
    return _after(visit, "Your subscription ends with its period.")


def _keep(visit: Visit, method: str) -> Page:
    visit.allow("subscription_cancel")
    subscription = visit.subscription()
    if method == "POST":
        cleared = {"feedback": None, "comment": None}
        moves = {"cancel_at": None, "cancel_at_period_end": False, "cancellation_details": cleared}
        lifecycle.set_cancellation(visit.books, subscription, moves)
    return redirect(visit.url(done="Your subscription goes on."))


def _card(visit: Visit, method: str) -> Page:
    visit.allow("payment_method_update")
    if method != "POST":
        return rendered(visit.books, "portal_card.html", visit=visit, problem="")
    card = card_of(visit.form.get("card_number", ""))
    answered = visit.form.get("authentication", "")
    problem = ""
    if not isinstance(card, TestCard):
        problem = card.message
    elif card.decline and card.decline_at_entry:
        problem = card.decline.message
    elif card.challenge != "never" and answered not in ("complete", "fail"):
        kept = {"card_number": card.number}
        action = visit.url("card")
        return rendered(visit.books, "challenge.html", action=action, amount=None, kept=kept)
    elif answered == "fail":
        problem = payments.AUTHENTICATION_FAILED.message
    if problem or not isinstance(card, TestCard):
        page: dict[str, Any] = {"visit": visit, "problem": problem}
        return rendered(visit.books, "portal_card.html", status=402, **page)
    _use_card(visit, card)
    return _after(visit, "Your card was changed.")


def _use_card(visit: Visit, card: TestCard) -> None:
    books, customer = visit.books, visit.customer
    details = billing_details(customer["email"], customer["name"])
    method = customers.attach_card(books, card, customer["id"], details)
    if card.challenge == "unless-set-up":
        books.change(method, {"_set_up": True})
    settings = {**customer["invoice_settings"], "default_payment_method": method["id"]}
    books.change(customer, {"invoice_settings": settings}, "customer.updated")
    for subscription in books.store.find("subscription", customer=customer["id"]):
        if subscription["status"] in lifecycle.LIVING:
            changes = {"default_payment_method": method["id"]}
            books.change(subscription, changes, "customer.subscription.updated")


def _pay(visit: Visit, method: str) -> Page:
    visit.allow("invoice_history")
    invoice = visit.books.get("invoice", visit.form.get("invoice", ""), "invoice")
    if invoice["customer"] != visit.customer["id"] or method != "POST":
        raise invalid("There is no such invoice to pay", "invoice")
    if invoice["status"] != "open":
        return redirect(visit.url(done="Nothing is left to pay."))
    subscription = lifecycle.subscription_of(visit.books, invoice)
    chosen = invoicing.default_method(visit.books, subscription) if subscription else None
    _, refused = lifecycle.pay(visit.books, invoice, chosen, on_session=True)
    if refused is not None:
        link = (visit.url(), "Back")
        return notice(visit.books, "Not paid", refused.message, status=402, link=link)
    return redirect(visit.url(done="The invoice is paid."))


_ACTIONS: Mapping[str, Action] = {
    "update": _update,
    "confirm": _confirm,
    "cancel": _cancel,
    "keep": _keep,
    "card": _card,
    "pay": _pay,
}
