"""Products and users: whose licences they are."""

from __future__ import annotations

import uuid
from typing import Any

from shimmy_sandbox.keygen.call import METADATA, Call, Reply
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.paging import matches_metadata, page
from shimmy_sandbox.keygen.parameters import LIST_OR_NULL, TEXT, TEXT_OR_NULL
from shimmy_sandbox.keygen.permissions import denied, require
from shimmy_sandbox.keygen.records import found, found_user, the_licence, the_machine
from shimmy_sandbox.keygen.resources import (
    account_resource,
    admin_resource,
    licence_resource,
    product_resource,
    token_resource,
    user_resource,
)
from shimmy_sandbox.keygen.wire import WireError, error, not_found, refusal

_PRODUCT = {
    "name": TEXT,
    "code": TEXT,
    "distributionStrategy": TEXT_OR_NULL,
    "url": TEXT_OR_NULL,
    "platforms": LIST_OR_NULL,
    "metadata": METADATA,
}
_USER = {"email": TEXT, "firstName": TEXT_OR_NULL, "lastName": TEXT_OR_NULL, "metadata": METADATA}
_COLUMNS = {
    "distributionStrategy": "distribution_strategy",
    "firstName": "first_name",
    "lastName": "last_name",
}


def show_account(call: Call) -> Reply:
    """The account; licences may not read it by default."""
    require(call, "account.read")
    return Reply(document={"data": account_resource(call)})


def show_me(call: Call) -> Reply:
    """Who asks, and the token they ask with."""
    require(call)
    bearer = call.bearer
    if bearer.role == "license":
        row = call.database.by_id("licences", bearer.id) or {}
        data = licence_resource(call, row)
    elif bearer.role == "product":
        data = product_resource(call, call.database.by_id("products", bearer.id) or {})
    else:
        data = admin_resource(call)
    document: dict[str, Any] = {"data": data}
    if bearer.token is not None:
        document["included"] = [token_resource(call, bearer.token)]
    return Reply(document=document)


def create_product(call: Call) -> Reply:
    """201 with the product."""
    require(call, "product.create")
    sent = call.attributes("products", _PRODUCT, required=["name"])
    identifier, wrong = call.chosen_id("products", "products")
    wrong += _product_wrong(call, sent)
    if wrong:
        raise WireError.listing(422, *wrong)
    row = call.stamped(identifier) | _NEW_PRODUCT | _columns(sent)
    call.database.insert("products", row)
    location = {"Location": f"{call.base}/products/{identifier}"}
    return Reply(201, {"data": product_resource(call, row)}, location)


_NEW_PRODUCT: Row = {
    "code": None,
    "url": None,
    "platforms": None,
    "distribution_strategy": "LICENSED",
    "metadata": {},
}


def update_product(call: Call) -> Reply:
    """200 with the product changed."""
    row = _the_product(call, "product.update")
    sent = call.attributes("products", _PRODUCT)
    wrong = _product_wrong(call, {k: v for k, v in sent.items() if v != row.get(k)})
    if wrong:
        raise WireError.listing(422, *wrong)
    changes = {**_columns(sent), "updated": call.time}
    call.database.update("products", row["id"], changes)
    return Reply(document={"data": product_resource(call, {**row, **changes})})


def _product_wrong(call: Call, sent: Row) -> list[dict[str, Any]]:
    wrong = []
    if "name" in sent and not sent["name"].strip():
        wrong.append(error("cannot be blank", "NAME_MISSING", pointer="/data/attributes/name"))
    sql = "SELECT 1 FROM products WHERE code = ?"
    if "code" in sent and call.database.one(sql, sent["code"]):
        pointer = "/data/attributes/code"
        wrong.append(error("has already been taken", "CODE_TAKEN", pointer=pointer))
    return wrong


def delete_product(call: Call) -> Reply:
    """204; its policies and licences go with it."""
    call.database.delete("products", _the_product(call, "product.delete")["id"])
    return Reply(204)


def show_product(call: Call) -> Reply:
    """200 or 404."""
    return Reply(document={"data": product_resource(call, _the_product(call, "product.read"))})


def show_licence_product(call: Call) -> Reply:
    """The product of a licence."""
    row = the_licence(call, "product.read")
    product = call.database.by_id("products", row["product_id"]) or {}
    return Reply(document={"data": product_resource(call, product)})


def show_machine_product(call: Call) -> Reply:
    """The product of a machine."""
    row = the_machine(call, "product.read")
    product = call.database.by_id("products", row["product_id"]) or {}
    return Reply(document={"data": product_resource(call, product)})


def list_products(call: Call) -> Reply:
    """A page of products, newest first."""
    require(call, "product.read")
    if call.bearer.role == "product":
        raise denied()
    return page(call, [product_resource(call, row) for row in call.database.newest("products")])


def _the_product(call: Call, action: str) -> Row:
    require(call, action)
    row = found(call, "products", "product")
    if call.bearer.role == "product" and row["id"] != call.bearer.id:
        raise not_found("product", row["id"])
    return row


def create_user(call: Call) -> Reply:
    """201 with the user; emails are unique and kept in lower case. Users have no passwords here."""
    require(call, "user.create")
    sent = call.attributes("users", _USER, required=["email"])
    if "id" in call.data("users"):
        raise refusal(400, "unpermitted parameter", pointer="/data/id")
    identifier, wrong = str(uuid.uuid4()), _email_wrong(call, sent)
    if wrong:
        raise WireError.listing(422, *wrong)
    names: Row = {"first_name": None, "last_name": None, "metadata": {}}
    row = call.stamped(identifier) | names | _columns(sent)
    call.database.insert("users", row)
    location = {"Location": f"{call.base}/users/{identifier}"}
    return Reply(201, {"data": user_resource(call, row)}, location)


def update_user(call: Call) -> Reply:
    """200 with the user changed."""
    require(call, "user.update")
    row = _the_user(call)
    sent = call.attributes("users", _USER)
    wrong = _email_wrong(call, sent, row["email"])
    if wrong:
        raise WireError.listing(422, *wrong)
    changes = {**_columns(sent), "updated": call.time}
    call.database.update("users", row["id"], changes)
    return Reply(document={"data": user_resource(call, {**row, **changes})})


def _email_wrong(call: Call, sent: Row, own: str = "") -> list[dict[str, Any]]:
    if "email" not in sent:
        return []
    sent["email"] = email = sent["email"].strip().lower()
    pointer = "/data/attributes/email"
    name, _, domain = email.partition("@")
    if not name or not domain or " " in email:
        return [error("must be a valid email", "EMAIL_INVALID", pointer=pointer)]
    if email != own and found_user(call, email):
        return [error("has already been taken", "EMAIL_TAKEN", pointer=pointer)]
    return []


def delete_user(call: Call) -> Reply:
    """204; the licences they own go with them, as with Keygen."""
    require(call, "user.delete")
    call.database.delete("users", _the_user(call)["id"])
    return Reply(204)


def show_user(call: Call) -> Reply:
    """By id or email; 200 or 404."""
    require(call, "user.read")
    return Reply(document={"data": user_resource(call, _the_user(call))})


def show_licence_owner(call: Call) -> Reply:
    """The owner of a licence; ``data`` is null without one."""
    row = the_licence(call, "user.read")
    owner = found_user(call, row["owner_id"])
    return Reply(document={"data": user_resource(call, owner) if owner else None})


def list_users(call: Call) -> Reply:
    """A page of users, newest first; filter by ``email`` or metadata."""
    require(call, "user.read")
    email = call.filter("email")
    rows = [row for row in call.database.newest("users") if matches_metadata(call, row)]
    chosen = [row for row in rows if email is None or row["email"] == email.lower()]
    return page(call, [user_resource(call, row) for row in chosen])


def _the_user(call: Call) -> Row:
    row = found_user(call, call.path["user"])
    if row is None:
        raise not_found("user", call.path["user"])
    return row


def _columns(sent: Row) -> Row:
    return {_COLUMNS.get(name, name): value for name, value in sent.items()}
