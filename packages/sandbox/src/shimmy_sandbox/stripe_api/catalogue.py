"""Products and prices."""

from __future__ import annotations

import re
from typing import Any

from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, paged
from shimmy_sandbox.stripe_api.parameters import merged_metadata
from shimmy_sandbox.stripe_api.shapes import catalogue
from shimmy_sandbox.stripe_api.store import Document
from shimmy_sandbox.stripe_api.wire import RefusalError, invalid, missing

_PRODUCT_FIELDS = [
    "active",
    "description",
    "images",
    "marketing_features",
    "name",
    "statement_descriptor",
    "tax_code",
    "unit_label",
    "url",
    "type",
]
_MOST_LOOKUP_KEYS = 10


def create_product(call: Call) -> Document:
    """A product, with its default price when one is described."""
    chosen = call.params.get("id")
    if chosen is not None and call.books.store.get(chosen) is not None:
        raise invalid("Product already exists.", "id", "resource_already_exists")
    product = catalogue.product(call.books.now, chosen)
    product |= call.given(*_PRODUCT_FIELDS)
    product["metadata"] = merged_metadata({}, call.params.get("metadata"))
    described = call.params.get("default_price_data")
    if described:
        price = _made_price(call.books, described, product["id"], "default_price_data")
        call.books.add(price, "price.created")
        product["default_price"] = price["id"]
    return call.books.add(product, "product.created")


def update_product(call: Call) -> Document:
    """Change what may be changed of a product."""
    product = call.named("product")
    changes = call.given(*_PRODUCT_FIELDS)
    if "default_price" in call.params and call.params["default_price"] is not None:
        price = call.books.get("price", call.params["default_price"], "default_price")
        if price["product"] != product["id"]:
            raise invalid("The default price belongs to another product", "default_price")
        changes["default_price"] = price["id"]
    if changes.get("name", product["name"]) is None:
        raise invalid("The name cannot be unset", "name", "parameter_invalid_empty")
    for name in ("images", "marketing_features"):
        if name in changes:
            changes[name] = changes[name] or []
    if "metadata" in call.params:
        changes["metadata"] = merged_metadata(product["metadata"], call.params["metadata"])
    changes["updated"] = call.books.now
    return call.books.change(product, changes, "product.updated")


def list_products(call: Call) -> Document:
    """Products, newest first."""
    found = call.books.store.find("product", **call.given("type"))
    if "active" in call.params:
        found = [one for one in found if one["active"] == call.params["active"]]
    if "ids" in call.params:
        found = [one for one in found if one["id"] in call.params["ids"]]
    return paged(call, found)


def show_product(call: Call) -> Document:
    """One product."""
    return call.named("product")


def create_price(call: Call) -> Document:
    """A price for a product that exists, or for one made with it."""
    given, books = dict(call.params), call.books
    if ("product" in given) == ("product_data" in given):
        raise missing("product") if "product" not in given else _both("product", "product_data")
    if "product" in given:
        product = books.get("product", given["product"], "product")["id"]
    else:
        product = new_product(books, given["product_data"])["id"]
    price = _made_price(books, given, product, "")
    _claim_lookup_key(call, price, given.get("lookup_key"))
    return books.add(price, "price.created")


def _both(first: str, second: str) -> RefusalError:
    message = f"You may only specify one of these parameters: {first}, {second}."
    return invalid(message, first, "parameters_exclusive")


def new_product(books: Books, described: dict[str, Any]) -> Document:
    """A product described within another request."""
    product = catalogue.product(books.now, described.get("id"))
    product |= {name: described[name] for name in _PRODUCT_FIELDS if name in described}
    product["metadata"] = merged_metadata({}, described.get("metadata"))
    return books.add(product, "product.created")


def _made_price(books: Books, given: dict[str, Any], product: str, path: str) -> Document:
    currency = str(given["currency"]).lower()
    if not re.fullmatch("[a-z]{3}", currency):
        raise invalid(f"Invalid currency: {currency}", "currency")
    amount = given.get("unit_amount")
    if amount is None:
        raise missing(f"{path}[unit_amount]" if path else "unit_amount")
    if amount < 0:
        raise invalid("Invalid non-negative integer", "unit_amount", "parameter_invalid_integer")
    price = catalogue.price(books.now, currency, product)
    price |= {"unit_amount": amount, "unit_amount_decimal": str(amount)}
    for name in ("active", "nickname", "tax_behavior"):
        if name in given:
            price[name] = given[name]
    price["metadata"] = merged_metadata({}, given.get("metadata"))
    if given.get("recurring"):
        cycle = given["recurring"]
        price["type"] = "recurring"
        price["recurring"] = {
            "interval": cycle["interval"],
            "interval_count": cycle.get("interval_count", 1),
            "meter": None,
            "trial_period_days": None,
            "usage_type": "licensed",
        }
    return price


def price_from_data(books: Books, given: dict[str, Any], path: str) -> Document:
    """The price that ``price_data`` of a line describes; it is never listed as active."""
    if "product" in given:
        product = books.get("product", given["product"], f"{path}[product]")["id"]
    elif "product_data" in given:
        product = new_product(books, given["product_data"])["id"]
    else:
        raise missing(f"{path}[product]")
    price = _made_price(books, given, product, path)
    return books.add({**price, "active": False}, "price.created")


def _claim_lookup_key(call: Call, price: Document, key: str | None) -> None:
    if key is None:
        return
    for holder in call.books.store.find("price", lookup_key=key):
        if holder["id"] == price["id"]:
            continue
        if not call.params.get("transfer_lookup_key"):
            message = (
                f"A price (`{holder['id']}`) already uses that lookup key. To transfer the lookup "
                "key, pass transfer_lookup_key."
            )
            raise invalid(message, "lookup_key", "resource_already_exists")
        call.books.change(holder, {"lookup_key": None}, "price.updated")
    price["lookup_key"] = key


def update_price(call: Call) -> Document:
    """Change what may be changed of a price; its amount never."""
    price = call.named("price")
    changes = call.given("active", "nickname", "tax_behavior")
    if "metadata" in call.params:
        changes["metadata"] = merged_metadata(price["metadata"], call.params["metadata"])
    if "lookup_key" in call.params:
        claimed = {**price, "lookup_key": None}
        _claim_lookup_key(call, claimed, call.params["lookup_key"])
        changes["lookup_key"] = claimed["lookup_key"]
    return call.books.change(price, changes, "price.updated")


def list_prices(call: Call) -> Document:
    """Prices, newest first; at most ten lookup keys at once."""
    keys = call.params.get("lookup_keys")
    if keys is not None and len(keys) > _MOST_LOOKUP_KEYS:
        raise invalid(f"You may give at most {_MOST_LOOKUP_KEYS} lookup keys", "lookup_keys")
    found = call.books.store.find("price", **call.given("currency", "product", "type"))
    if "active" in call.params:
        found = [one for one in found if one["active"] == call.params["active"]]
    if keys is not None:
        found = [one for one in found if one["lookup_key"] in keys]
    return paged(call, found)


def show_price(call: Call) -> Document:
    """One price."""
    return call.named("price")
