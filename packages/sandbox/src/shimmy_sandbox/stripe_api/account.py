"""The account itself, and which ways to pay are switched on in it."""

from __future__ import annotations

from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, paged
from shimmy_sandbox.stripe_api.identity import ACCOUNT_ID, new_id
from shimmy_sandbox.stripe_api.payments import ASYNC_KINDS
from shimmy_sandbox.stripe_api.store import Document

_KIND = "payment_method_configuration"
_METHODS = ("card", "link", *ASYNC_KINDS)


def show_account(_call: Call) -> Document:
    """An account that everything has been checked of; less than Stripe tells."""
    return {
        "id": ACCOUNT_ID,
        "object": "account",
        "business_type": None,
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": None,
        "payouts_enabled": True,
        "type": "standard",
    }


def list_method_configurations(call: Call) -> Document:
    """Every account has a default configuration; here with every way that can be simulated on."""
    _ensure(call.books)
    return paged(call, call.books.store.find(_KIND))


def update_method_configuration(call: Call) -> Document:
    """Switch ways to pay on or off. Sessions here do not ask it: a page offers what it is told."""
    _ensure(call.books)
    held = call.named(_KIND)
    changes = {
        name: _method(given.get("display_preference", {}).get("preference", "none"))
        for name, given in call.given(*_METHODS).items()
    }
    return call.books.change(held, changes)


def _ensure(books: Books) -> None:
    if books.store.find(_KIND):
        return
    books.add(
        {
            "id": new_id("pmc"),
            "object": _KIND,
            "active": True,
            "application": None,
            "created": books.now,
            "is_default": True,
            "livemode": False,
            "name": "Default",
            "parent": None,
            **{name: _method("on") for name in _METHODS},
        }
    )


def _method(preference: str) -> Document:
    # A preference of "none" leaves it to Stripe, which shows all of these.
    value = "off" if preference == "off" else "on"
    shown = {"overridable": None, "preference": preference, "value": value}
    return {"available": value == "on", "display_preference": shown}
