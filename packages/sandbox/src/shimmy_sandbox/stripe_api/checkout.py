"""Checkout sessions through the API; what happens on their page is in ``purchase``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shimmy_sandbox.stripe_api.call import Call, paged
from shimmy_sandbox.stripe_api.catalogue import price_from_data
from shimmy_sandbox.stripe_api.parameters import merged_metadata
from shimmy_sandbox.stripe_api.payments import ASYNC_KINDS
from shimmy_sandbox.stripe_api.shapes.sessions import (
    SESSION_SECONDS,
    checkout_session,
    session_item,
)
from shimmy_sandbox.stripe_api.store import Document
from shimmy_sandbox.stripe_api.wire import checked_url, invalid, missing, unsimulated

_ECHOED = [
    "allow_promotion_codes",
    "allowed_payment_method_types",
    "billing_address_collection",
    "cancel_url",
    "client_reference_id",
    "customer_creation",
    "customer_email",
    "excluded_payment_method_types",
    "integration_identifier",
    "locale",
    "payment_method_collection",
    "payment_method_options",
    "phone_number_collection",
    "submit_type",
    "success_url",
]
_SIMULATED_METHODS = ("card", "link", *ASYNC_KINDS)
_SOONEST, _LATEST = 30 * 60, SESSION_SECONDS
_MOST_QUANTITY = 999_999


def create_session(call: Call) -> Document:
    """An open session with its page."""
    given = call.params
    if "mode" not in given:
        raise missing("mode")
    mode = given["mode"]
    if mode == "setup":
        raise unsimulated("mode=setup")
    if given.get("ui_mode", "hosted_page") != "hosted_page":
        raise unsimulated(f"ui_mode={given['ui_mode']}")
    _check_urls(given)
    customer = _customer(call, mode)
    books = call.books.for_customer(customer)
    session = checkout_session(books.now, mode)
    session |= call.given(*_ECHOED)
    session["customer"] = customer
    items = _items(call, mode)
    session["_items"] = items
    total = sum(item["amount_total"] for item in items)
    session |= {"amount_subtotal": total, "amount_total": total, "currency": items[0]["currency"]}
    session["payment_method_types"] = _methods(given, mode)
    session["metadata"] = merged_metadata({}, given.get("metadata"))
    session["customer_creation"] = _creation(given, mode, customer)
    session |= _choices(given, mode)
    session["expires_at"] = _expiry(given, books.now)
    session |= {
        "_due": session["expires_at"],
        "url": f"{books.origin}/c/pay/{session['id']}",
        "_intent": None,
        "_challenge": None,
        "_intent_data": given.get("payment_intent_data", {}),
        "_subscription_data": given.get("subscription_data", {}),
        "_customer_update": given.get("customer_update", {}),
    }
    return books.add(session)


def _check_urls(given: Any) -> None:
    for name in ("success_url", "cancel_url"):
        url = given.get(name)
        if url is None:
            if name == "success_url":
                raise missing("success_url")
            continue
        checked_url(url, name)


def _customer(call: Call, mode: str) -> str | None:
    given = call.params
    for other in ("customer_email", "customer_creation"):
        if given.get("customer") and given.get(other):
            message = f"You may only specify one of these parameters: customer, {other}."
            raise invalid(message, "customer", "parameters_exclusive")
    if mode == "subscription" and given.get("customer_creation"):
        raise invalid("`customer_creation` can only be used in `payment` mode", "customer_creation")
    if not given.get("customer"):
        return None
    return str(call.books.get("customer", given["customer"], "customer")["id"])


def _creation(given: Any, mode: str, customer: str | None) -> str | None:
    if customer is not None:
        return None
    return "always" if mode == "subscription" else given.get("customer_creation", "if_required")


def _items(call: Call, mode: str) -> list[Document]:
    lines = call.params.get("line_items")
    if not lines:
        raise missing("line_items")
    items = []
    for place, line in enumerate(lines):
        path = f"line_items[{place}]"
        if ("price" in line) == ("price_data" in line):
            raise missing(f"{path}[price]")
        if "price" in line:
            price = call.books.get("price", line["price"], f"{path}[price]")
            if not price["active"]:
                raise invalid(f"The price {price['id']} is not active", f"{path}[price]")
        else:
            price = price_from_data(call.books, line["price_data"], f"{path}[price_data]")
        quantity = line.get("quantity", 1)
        if not 1 <= quantity <= _MOST_QUANTITY:
            raise invalid("The quantity must be at least 1", f"{path}[quantity]")
        product = call.books.get("product", price["product"])
        items.append(session_item(price, quantity, product["name"]))
    _check_items(items, mode)
    return items


def _check_items(items: Sequence[Document], mode: str) -> None:
    recurring = [item["price"]["recurring"] for item in items if item["price"]["recurring"]]
    if mode == "payment" and recurring:
        message = "You specified `payment` mode but passed a recurring price. Use `subscription`."
        raise invalid(message, "line_items")
    if mode == "subscription" and not recurring:
        message = "You must provide at least one recurring price in `subscription` mode."
        raise invalid(message, "line_items")
    if len({(cycle["interval"], cycle["interval_count"]) for cycle in recurring}) > 1:
        raise invalid("Prices of different intervals are not simulated here", "line_items")
    if len({item["currency"] for item in items}) > 1:
        raise invalid("All prices must have the same currency", "line_items")


def _methods(given: Any, mode: str) -> list[str]:
    allowed = given.get("allowed_payment_method_types") or ["card", "link"]
    excluded = given.get("excluded_payment_method_types") or []
    methods = [kind for kind in allowed if kind not in excluded]
    for kind in methods:
        if kind not in _SIMULATED_METHODS:
            raise unsimulated(f"allowed_payment_method_types={kind}")
        if kind in ASYNC_KINDS and mode != "payment":
            message = f"{kind} cannot be used in `{mode}` mode."
            raise invalid(message, "allowed_payment_method_types")
    if not methods:
        raise invalid("No payment method is left", "allowed_payment_method_types")
    return methods


def _choices(given: Any, mode: str) -> Document:
    chosen: Document = {}
    for name, wrong in (("payment_intent_data", "subscription"), ("subscription_data", "payment")):
        if given.get(name) and mode == wrong:
            raise invalid(f"You can not pass `{name}` in `{mode}` mode.", name)
    if "automatic_tax" in given:
        enabled = given["automatic_tax"]["enabled"]
        liability = {"type": "self"} if enabled else None
        status = "complete" if enabled else None
        chosen["automatic_tax"] = {
            "enabled": enabled,
            "liability": liability,
            "provider": "stripe" if enabled else None,
            "status": status,
        }
    if "consent_collection" in given:
        terms = given["consent_collection"].get("terms_of_service", "none")
        chosen["consent_collection"] = {
            "payment_method_reuse_agreement": None,
            "promotions": "none",
            "terms_of_service": terms,
        }
    if "custom_text" in given:
        texts = ("after_submit", "shipping_address", "submit", "terms_of_service_acceptance")
        chosen["custom_text"] = {**dict.fromkeys(texts), **given["custom_text"]}
    if "tax_id_collection" in given:
        asked = given["tax_id_collection"]
        chosen["tax_id_collection"] = {"required": "never", **asked}
    if mode == "payment":
        chosen["invoice_creation"] = _invoice_creation(given.get("invoice_creation"))
        chosen["payment_method_collection"] = "if_required"
    return chosen


def _invoice_creation(asked: Any) -> Document:
    absent = ("account_tax_ids", "custom_fields", "description", "footer", "issuer")
    asked = asked or {"enabled": False}
    data: Document = {**dict.fromkeys(absent), "metadata": {}, "rendering_options": None}
    return {
        "enabled": asked["enabled"],
        "invoice_data": {**data, **asked.get("invoice_data", {})},
    }


def _expiry(given: Any, now: int) -> int:
    chosen = int(given.get("expires_at", now + SESSION_SECONDS))
    if not now + _SOONEST <= chosen <= now + _LATEST:
        message = "The `expires_at` timestamp must be from 30 minutes to 24 hours from now."
        raise invalid(message, "expires_at")
    return chosen


def list_sessions(call: Call) -> Document:
    """Sessions, newest first."""
    fields = call.given("customer", "status")
    found = call.books.store.find("checkout.session", **fields)
    for name in ("subscription", "payment_intent"):
        if name in call.params:
            found = [one for one in found if one[name] == call.params[name]]
    if "customer_details" in call.params:
        email = call.params["customer_details"]["email"]
        found = [one for one in found if (one["customer_details"] or {}).get("email") == email]
    return paged(call, found)


def show_session(call: Call) -> Document:
    """One session."""
    return call.named("checkout.session")


def expire_session(call: Call) -> Document:
    """Close an open session; nobody can pay it any more."""
    session = call.named("checkout.session")
    if session["status"] != "open":
        message = (
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout '
            f"Session has a status of {session['status']}."
        )
        raise invalid(message)
    books = call.books.for_customer(session["customer"])
    changes = {"status": "expired", "url": None, "_due": None, "_challenge": None}
    expired = books.change(session, changes)
    books.announce("checkout.session.expired", expired)
    return expired


def list_line_items(call: Call) -> Document:
    """What is for sale in a session."""
    session = call.named("checkout.session")
    return paged(call, session["_items"])
