"""Entitlements, and what they are attached to: policies and licences."""

from __future__ import annotations

import uuid
from typing import Any

from shimmy_sandbox.keygen.call import METADATA, Call, Reply
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.paging import page
from shimmy_sandbox.keygen.parameters import LIST, OBJECT, TEXT, UUID
from shimmy_sandbox.keygen.permissions import require
from shimmy_sandbox.keygen.policies import the_policy
from shimmy_sandbox.keygen.records import entitlements_of, found, the_licence
from shimmy_sandbox.keygen.resources import attachment_resource, entitlement_resource
from shimmy_sandbox.keygen.wire import WireError, cannot, error, not_found, refusal

_KNOWN = {"name": TEXT, "code": TEXT, "metadata": METADATA}


def create_entitlement(call: Call) -> Reply:
    """201 with the entitlement; 422 when its code is taken."""
    require(call, "entitlement.create")
    sent = call.attributes("entitlements", _KNOWN, required=["name", "code"])
    identifier, wrong = call.chosen_id("entitlements", "entitlements")
    wrong += _wrong(call, sent)
    if wrong:
        raise WireError.listing(422, *wrong)
    row = call.stamped(identifier) | {"metadata": {}} | sent
    call.database.insert("entitlements", row)
    location = {"Location": f"{call.base}/entitlements/{identifier}"}
    return Reply(201, {"data": entitlement_resource(call, row)}, location)


def update_entitlement(call: Call) -> Reply:
    """200 with the entitlement changed."""
    require(call, "entitlement.update")
    row = found(call, "entitlements", "entitlement")
    sent = call.attributes("entitlements", _KNOWN)
    wrong = _wrong(call, {name: value for name, value in sent.items() if value != row[name]})
    if wrong:
        raise WireError.listing(422, *wrong)
    changes = {**sent, "updated": call.time}
    call.database.update("entitlements", row["id"], changes)
    return Reply(document={"data": entitlement_resource(call, {**row, **changes})})


def _wrong(call: Call, sent: Row) -> list[dict[str, Any]]:
    wrong = []
    for name in ("code", "name"):
        if name in sent and not sent[name].strip():
            pointer = f"/data/attributes/{name}"
            wrong.append(error("cannot be blank", f"{name.upper()}_MISSING", pointer=pointer))
    sql = "SELECT 1 FROM entitlements WHERE code = ?"
    if "code" in sent and call.database.one(sql, sent["code"]):
        pointer = "/data/attributes/code"
        wrong.append(error("has already been taken", "CODE_TAKEN", pointer=pointer))
    return wrong


def delete_entitlement(call: Call) -> Reply:
    """204; detached from everything."""
    require(call, "entitlement.delete")
    call.database.delete("entitlements", found(call, "entitlements", "entitlement")["id"])
    return Reply(204)


def list_entitlements(call: Call) -> Reply:
    """A page of entitlements, newest first; a licence sees its own."""
    require(call, "entitlement.read")
    return page(call, [entitlement_resource(call, row) for row in _visible(call)])


def show_entitlement(call: Call) -> Reply:
    """200 or 404."""
    require(call, "entitlement.read")
    return _one(call, _visible(call))


def _visible(call: Call) -> list[Row]:
    if call.bearer.role != "license":
        return call.database.newest("entitlements")
    return entitlements_of(call, call.database.by_id("licences", call.bearer.id) or {})


def list_licence_entitlements(call: Call) -> Reply:
    """A page of what a licence is entitled to, through its policy or by itself."""
    rows = entitlements_of(call, the_licence(call, "entitlement.read"))
    return page(call, [entitlement_resource(call, row) for row in rows])


def show_licence_entitlement(call: Call) -> Reply:
    """One entitlement of a licence, or 404."""
    return _one(call, entitlements_of(call, the_licence(call, "entitlement.read")))


def list_policy_entitlements(call: Call) -> Reply:
    """A page of what is attached to a policy."""
    rows = _of_policy(call, the_policy(call, "entitlement.read"))
    return page(call, [entitlement_resource(call, row) for row in rows])


def show_policy_entitlement(call: Call) -> Reply:
    """One entitlement of a policy, or 404."""
    return _one(call, _of_policy(call, the_policy(call, "entitlement.read")))


def _of_policy(call: Call, policy: Row) -> list[Row]:
    return call.database.rows(
        "SELECT * FROM entitlements WHERE id IN "
        "(SELECT entitlement_id FROM policy_entitlements WHERE policy_id = ?) "
        "ORDER BY created DESC, rowid DESC",
        policy["id"],
    )


def _one(call: Call, rows: list[Row]) -> Reply:
    for row in rows:
        if row["id"] == call.path["entitlement"].lower():
            return Reply(document={"data": entitlement_resource(call, row)})
    raise not_found("entitlement", call.path["entitlement"])


def attach_to_policy(call: Call) -> Reply:
    """200 with the attachments; all of them or 422 and none."""
    policy = the_policy(call, "policy.entitlements.attach")
    return _attached(call, "policy", "policy_id", policy["id"], set())


def attach_to_licence(call: Call) -> Reply:
    """200 with the attachments; all of them or 422 and none."""
    licence = the_licence(call, "license.entitlements.attach")
    policy = {"id": licence["policy_id"]}
    through_policy = {row["id"] for row in _of_policy(call, policy)}
    return _attached(call, "license", "licence_id", licence["id"], through_policy)


def _attached(
    call: Call, owner: str, column: str, holder_id: str, through_policy: set[str]
) -> Reply:
    table, made = f"{column.removesuffix('_id')}_entitlements", []
    pointer = "/data/relationships/entitlement"
    for identifier in _sent_ids(call):
        if call.database.by_id("entitlements", identifier) is None:
            raise refusal(422, "must exist", "ENTITLEMENT_NOT_FOUND", pointer=pointer)
        if identifier in through_policy:
            detail = "already exists (entitlement is attached through policy)"
            raise refusal(422, detail, "ENTITLEMENT_CONFLICT", pointer=pointer)
        if _link(call, table, column, holder_id, identifier):
            raise refusal(422, "already exists", "ENTITLEMENT_TAKEN", pointer=pointer)
        row = call.stamped(str(uuid.uuid4())) | {column: holder_id, "entitlement_id": identifier}
        call.database.insert(table, row)
        made.append(attachment_resource(call, owner, row))
    return Reply(document={"data": made})


def detach_from_policy(call: Call) -> Reply:
    """204; all of them or 422 and none."""
    policy = the_policy(call, "policy.entitlements.detach")
    return _detached(call, "policy_id", policy["id"], set())


def detach_from_licence(call: Call) -> Reply:
    """204; 403 for what comes through the policy, 422 for what is not attached."""
    licence = the_licence(call, "license.entitlements.detach")
    through_policy = {row["id"] for row in _of_policy(call, {"id": licence["policy_id"]})}
    return _detached(call, "licence_id", licence["id"], through_policy)


def _detached(call: Call, column: str, holder_id: str, through_policy: set[str]) -> Reply:
    table = f"{column.removesuffix('_id')}_entitlements"
    for place, identifier in enumerate(_sent_ids(call)):
        pointer = f"/data/{place}"
        if identifier in through_policy:
            reason = "(entitlement is attached through policy)"
            detail = f"cannot detach entitlement '{identifier}' {reason}"
            raise refusal(403, detail, pointer=pointer)
        link = _link(call, table, column, holder_id, identifier)
        if link is None:
            detail = f"cannot detach entitlement '{identifier}' (entitlement is not attached)"
            raise cannot(detail, pointer=pointer)
        call.database.delete(table, link["id"])
    return Reply(204)


def _link(call: Call, table: str, column: str, holder_id: str, identifier: str) -> Row | None:
    # Tables and columns are named by literals of ours.
    sql = f"SELECT id FROM {table} WHERE {column} = ? AND entitlement_id = ?"  # noqa: S608
    return call.database.one(sql, holder_id, identifier)


def _sent_ids(call: Call) -> list[str]:
    data, ids = call.body.get("data"), []
    if data is None:
        raise refusal(400, "is missing", pointer="/data")
    LIST.check(data, "/data")
    if not 1 <= len(data) <= 100:
        detail = "length must be between 1 and 100 (inclusive)"
        raise refusal(400, detail, pointer="/data")
    for place, entry in enumerate(data):
        OBJECT.check(entry, f"/data/{place}")
        if entry.get("type") not in ("entitlement", "entitlements"):
            raise refusal(400, "is invalid", pointer=f"/data/{place}/type")
        ids.append(UUID.check(entry.get("id"), f"/data/{place}/id"))
    return ids
