"""Tokens of products and licences: made once, shown once."""

from __future__ import annotations

import uuid

from shimmy_sandbox.keygen.authentication import new_token, token_digest
from shimmy_sandbox.keygen.call import Call, Reply
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.paging import page
from shimmy_sandbox.keygen.parameters import LIST_OR_NULL, TEXT_OR_NULL, TIME_OR_NULL, unsimulated
from shimmy_sandbox.keygen.permissions import GRANTABLE, refuse_licences, require, require_product
from shimmy_sandbox.keygen.records import found, the_licence
from shimmy_sandbox.keygen.resources import token_resource
from shimmy_sandbox.keygen.wire import not_found, refusal

_KNOWN = {
    "expiry": TIME_OR_NULL,
    "name": TEXT_OR_NULL,
    # Of Keygen's Enterprise tier; others refuse it.
    "permissions": LIST_OR_NULL,
    "maxActivations": unsimulated(),
    "maxDeactivations": unsimulated(),
}


def create_licence_token(call: Call) -> Reply:
    """200 with a token that speaks for a licence."""
    return _create(call, "license", the_licence(call, "license.tokens.generate")["id"])


def create_product_token(call: Call) -> Reply:
    """200 with a token that speaks for a product."""
    require(call, "product.tokens.generate")
    return _create(call, "product", found(call, "products", "product")["id"])


def list_licence_tokens(call: Call) -> Reply:
    """A page of a licence's tokens, without the tokens themselves."""
    row = the_licence(call, "token.read")
    refuse_licences(call)
    return _page_of(call, row["id"])


def list_product_tokens(call: Call) -> Reply:
    """A page of a product's tokens, without the tokens themselves."""
    require(call, "token.read")
    refuse_licences(call)
    row = found(call, "products", "product")
    require_product(call, row["id"])
    return _page_of(call, row["id"])


def show_token(call: Call) -> Reply:
    """200 or 404, without the token itself."""
    return Reply(document={"data": token_resource(call, _visible(call, "token.read"))})


def revoke_token(call: Call) -> Reply:
    """204; the token is invalid from now on."""
    call.database.delete("tokens", _visible(call, "token.revoke")["id"])
    return Reply(204)


def _visible(call: Call, action: str) -> Row:
    require(call, action)
    row = found(call, "tokens", "token")
    if call.bearer.role != "admin" and row["bearer_id"] != call.bearer.id:
        raise not_found("token", row["id"])
    return row


def _page_of(call: Call, bearer_id: str) -> Reply:
    rows = [row for row in call.database.newest("tokens") if row["bearer_id"] == bearer_id]
    return page(call, [token_resource(call, row) for row in rows])


def _create(call: Call, kind: str, bearer_id: str) -> Reply:
    sent = call.attributes("tokens", _KNOWN) if call.body.get("data") is not None else {}
    permissions = sent.get("permissions")
    if permissions is not None and not set(map(str, permissions)) <= GRANTABLE:
        pointer = "/data/attributes/permissions"
        raise refusal(422, "unsupported permissions", "PERMISSIONS_NOT_ALLOWED", pointer=pointer)
    token = new_token({"license": "activ", "product": "prod"}[kind])
    row = call.stamped(str(uuid.uuid4())) | {
        "digest": token_digest(token),
        "kind": kind,
        "bearer_id": bearer_id,
        "name": sent.get("name"),
        "expiry": sent.get("expiry"),
        "permissions": permissions,
    }
    call.database.insert("tokens", row)
    return Reply(document={"data": token_resource(call, row, token)})
