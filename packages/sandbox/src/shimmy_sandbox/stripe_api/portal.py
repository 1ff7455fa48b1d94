"""Billing portal configurations and sessions through the API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shimmy_sandbox.stripe_api import plan_changes
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, paged
from shimmy_sandbox.stripe_api.parameters import merged_metadata
from shimmy_sandbox.stripe_api.shapes.blank import each
from shimmy_sandbox.stripe_api.shapes.sessions import portal_configuration, portal_session
from shimmy_sandbox.stripe_api.store import Document
from shimmy_sandbox.stripe_api.wire import checked_url, invalid, missing, unsimulated

_MOST_PRODUCTS = 10
_LISTS = ("allowed_updates", "default_allowed_updates", "options", "products", "conditions")


def create_configuration(call: Call) -> Document:
    """What customers may do in the portal; the first configuration is the default one."""
    books = call.books
    made = portal_configuration(books.now)
    made["is_default"] = not books.store.find("billing_portal.configuration")
    return books.add(_filled(books, made, call.params), "billing_portal.configuration.created")


def update_configuration(call: Call) -> Document:
    """Change what customers may do."""
    configuration = call.named("billing_portal.configuration")
    if configuration["is_default"] and call.params.get("active") is False:
        raise invalid("The default configuration cannot be deactivated", "active")
    changed = _filled(call.books, configuration, call.params)
    changes = {**changed, "updated": call.books.now}
    return call.books.change(configuration, changes, "billing_portal.configuration.updated")


def _filled(books: Books, configuration: Document, given: Mapping[str, Any]) -> Document:
    filled = {**configuration}
    for name in ("active", "default_return_url", "name"):
        if name in given:
            filled[name] = given[name]
    if given.get("default_return_url"):
        checked_url(given["default_return_url"], "default_return_url")
    if "business_profile" in given:
        filled["business_profile"] = {
            **configuration["business_profile"],
            **given["business_profile"],
        }
    if "metadata" in given:
        filled["metadata"] = merged_metadata(configuration["metadata"], given["metadata"])
    if given.get("login_page", {}).get("enabled"):
        raise unsimulated("login_page[enabled]=true")
    filled["features"] = _merged(configuration["features"], given.get("features", {}))
    _check_products(books, filled["features"]["subscription_update"])
    return filled


def _merged(kept: Mapping[str, Any], given: Mapping[str, Any]) -> Document:
    merged = dict(kept)
    for name, value in given.items():
        if isinstance(value, dict) and isinstance(kept.get(name), dict):
            merged[name] = _merged(kept[name], value)
        else:
            merged[name] = [] if value is None and name in _LISTS else value
    return merged


def _check_products(books: Books, feature: Document) -> None:
    path = "features[subscription_update][products]"
    products = feature["products"] or []
    if len(products) > _MOST_PRODUCTS:
        raise invalid(f"You may list at most {_MOST_PRODUCTS} products", path)
    if feature["enabled"] and not products:
        raise missing(path)
    for place, product in enumerate(products):
        books.get("product", product["product"], f"{path}[{place}][product]")
        for price in product["prices"]:
            found = books.get("price", price, f"{path}[{place}][prices]")
            if found["product"] != product["product"] or not found["recurring"]:
                message = f"The price {price} is not a recurring price of {product['product']}"
                raise invalid(message, f"{path}[{place}][prices]")
        product["adjustable_quantity"] = {"enabled": False, "maximum": None, "minimum": 1}


def list_configurations(call: Call) -> Document:
    """Configurations, newest first."""
    found = call.books.store.find("billing_portal.configuration")
    for name in ("active", "is_default"):
        if name in call.params:
            found = [one for one in found if one[name] == call.params[name]]
    return paged(call, found)


def show_configuration(call: Call) -> Document:
    """One configuration."""
    return call.named("billing_portal.configuration")


def create_session(call: Call) -> Document:
    """A link into the portal for one customer, straight to a flow when one is given."""
    books, given = call.books, call.params
    if "customer" not in given:
        raise missing("customer")
    customer = books.get("customer", given["customer"], "customer")
    configuration = _configuration(books, given.get("configuration"))
    books = books.for_customer(customer["id"])
    made = portal_session(books.now, configuration["id"], customer["id"], books.origin)
    made["locale"] = given.get("locale")
    if given.get("return_url"):
        checked_url(given["return_url"], "return_url")
    made["return_url"] = given.get("return_url") or configuration["default_return_url"]
    made["_used"] = call.books.now
    if "flow_data" in given:
        made["flow"] = _flow(books, customer, configuration, given["flow_data"])
    return books.add(made, "billing_portal.session.created")


def _configuration(books: Books, named: str | None) -> Document:
    if named is not None:
        found = books.get("billing_portal.configuration", named, "configuration")
        if not found["active"]:
            raise invalid(f"The configuration {named} is not active", "configuration")
        return found
    for one in books.store.find("billing_portal.configuration"):
        if one["is_default"]:
            return one
    message = (
        "You can't create a portal session in test mode until you save your customer portal "
        "settings: create a billing portal configuration first."
    )
    raise invalid(message)


_FEATURES = {
    "payment_method_update": "payment_method_update",
    "subscription_cancel": "subscription_cancel",
    "subscription_update": "subscription_update",
    "subscription_update_confirm": "subscription_update",
}


def _flow(
    books: Books, customer: Document, configuration: Document, given: Mapping[str, Any]
) -> Document:
    kind = given["type"]
    if kind not in _FEATURES:
        raise unsimulated(f"flow_data[type]={kind}")
    if not configuration["features"][_FEATURES[kind]]["enabled"]:
        message = f"This flow cannot be used: {_FEATURES[kind]} is disabled in the configuration"
        raise invalid(message, "flow_data[type]")
    names = each(
        "customer_update subscription_cancel subscription_pause subscription_update "
        "subscription_update_confirm"
    )
    flow: Document = {**names, "type": kind}
    flow["after_completion"] = _after(given.get("after_completion"))
    if kind == "payment_method_update":
        return flow
    if kind not in given:
        raise missing(f"flow_data[{kind}]")
    details = dict(given[kind])
    path = f"flow_data[{kind}]"
    subscription = books.get("subscription", details["subscription"], f"{path}[subscription]")
    if subscription["customer"] != customer["id"] or subscription["status"] == "canceled":
        raise invalid("The subscription is not a running one of the customer", path)
    if kind in ("subscription_update", "subscription_update_confirm"):
        plan_changes.one_item(subscription, f"{path}[subscription]")
    if kind == "subscription_update_confirm":
        items = details["items"]
        plan_changes.wanted_items(books, subscription, items, f"{path}[items]")
        details["items"] = [{"price": None, "quantity": 1, **item} for item in items]
        details["discounts"] = None
    if kind == "subscription_cancel":
        details["retention"] = None
    flow[kind] = details
    return flow


def _after(given: Mapping[str, Any] | None) -> Document:
    asked = given or {"type": "portal_homepage"}
    if asked["type"] == "redirect":
        path = "flow_data[after_completion][redirect]"
        if not asked.get("redirect"):
            raise missing(path)
        checked_url(asked["redirect"]["return_url"], f"{path}[return_url]")
    return {
        "hosted_confirmation": asked.get("hosted_confirmation"),
        "redirect": asked.get("redirect"),
        "type": asked["type"],
    }
