"""Machines: activated, found, pinged, removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shimmy_sandbox.keygen.call import METADATA, Call, Reply
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.licences import start_expiry
from shimmy_sandbox.keygen.paging import matches_metadata, page
from shimmy_sandbox.keygen.parameters import (
    INTEGER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    Kind,
)
from shimmy_sandbox.keygen.permissions import denied, require, require_product
from shimmy_sandbox.keygen.records import (
    found_user,
    machines_of,
    machines_with_fingerprint,
    policy_of,
    the_licence,
    the_machine,
    visible_machines,
)
from shimmy_sandbox.keygen.resources import (
    licence_resource,
    machine_limit,
    machine_resource,
)
from shimmy_sandbox.keygen.validation import machines_allowed
from shimmy_sandbox.keygen.wire import WireError, error, not_found, refusal

_FOR_ALL: Mapping[str, Kind] = dict.fromkeys(("name", "ip", "hostname", "platform"), TEXT_OR_NULL)
_FOR_SELLERS: Mapping[str, Kind] = {
    **dict.fromkeys(("cores", "memory", "disk"), INTEGER_OR_NULL),
    "metadata": METADATA,
}


def create_machine(call: Call) -> Reply:
    """201 with the machine and its Location; 422 names everything that is wrong."""
    require(call, "machine.create")
    known = {"fingerprint": TEXT, **_FOR_ALL, **_FOR_SELLERS}
    sent = call.attributes("machines", known, required=["fingerprint"])
    licence_id = call.related("machines", "license", required=True)
    if call.related("machines", "owner") is not None:
        pointer = "/data/relationships/owner"
        raise refusal(400, "is not simulated by this sandbox", pointer=pointer)
    if call.bearer.role == "license" and licence_id != call.bearer.id:
        raise denied()
    identifier, wrong = call.chosen_id("machines", "machines")
    licence = call.database.by_id("licences", licence_id)
    if licence is None:
        pointer = "/data/relationships/license"
        wrong.append(error("must exist", "LICENSE_NOT_FOUND", pointer=pointer))
        raise WireError.listing(422, *wrong)
    policy = policy_of(call, licence)
    require_product(call, policy["product_id"])
    wrong += _fingerprint_wrong(call, sent["fingerprint"], policy, licence)
    wrong += _limit_wrong(call, licence, policy["settings"])
    if wrong:
        raise WireError.listing(422, *wrong)
    basis = policy["settings"]["heartbeatBasis"]
    row = call.stamped(identifier) | {"licence_id": licence_id, "metadata": {}} | sent
    row["last_heartbeat"] = call.time if basis == "FROM_CREATION" else None
    call.database.insert("machines", row)
    start_expiry(call, licence, policy["settings"], "FROM_FIRST_ACTIVATION")
    created = call.database.by_id("machines", identifier) or {}
    location = {"Location": f"{call.base}/machines/{identifier}"}
    return Reply(201, {"data": machine_resource(call, created)}, location)


def _fingerprint_wrong(
    call: Call, fingerprint: str, policy: Row, licence: Row
) -> list[dict[str, Any]]:
    pointer = "/data/attributes/fingerprint"
    if not fingerprint.strip():
        return [error("cannot be blank", "FINGERPRINT_MISSING", pointer=pointer)]
    if fingerprint in ("action", "actions"):
        return [error("is reserved", "FINGERPRINT_NOT_ALLOWED", pointer=pointer)]
    if call.database.by_id("machines", fingerprint):
        detail = "must not conflict with another machine's identifier (UUID)"
        return [error(detail, "FINGERPRINT_CONFLICT", pointer=pointer)]
    column, mine, where = {
        "UNIQUE_PER_ACCOUNT": ("fingerprint", fingerprint, " for this account"),
        "UNIQUE_PER_PRODUCT": ("product_id", policy["product_id"], " for this product"),
        "UNIQUE_PER_POLICY": ("policy_id", policy["id"], " for this policy"),
        "UNIQUE_PER_LICENSE": ("licence_id", licence["id"], ""),
    }[policy["settings"]["machineUniquenessStrategy"]]
    rows = machines_with_fingerprint(call, fingerprint)
    if all(row["licence_id"] != licence["id"] and row[column] != mine for row in rows):
        return []
    return [error(f"has already been taken{where}", "FINGERPRINT_TAKEN", pointer=pointer)]


def _limit_wrong(call: Call, licence: Row, settings: Row) -> list[dict[str, Any]]:
    count, limit = len(machines_of(call, licence)), machine_limit(licence, settings)
    allowed = machines_allowed(limit, settings["overageStrategy"])
    if count == 0 or allowed is None or count + 1 <= allowed:
        return []
    detail = f"machine count has exceeded maximum allowed for license ({limit})"
    return [error(detail, "MACHINE_LIMIT_EXCEEDED", pointer="/data")]


def list_machines(call: Call) -> Reply:
    """A page of the machines the bearer may see, newest first; filters are ANDed."""
    require(call, "machine.read")
    return _page_of(call, visible_machines(call))


def list_licence_machines(call: Call) -> Reply:
    """A page of one licence's machines."""
    licence = the_licence(call, "machine.read")
    rows = [row for row in visible_machines(call) if row["licence_id"] == licence["id"]]
    return _page_of(call, rows)


def show_licence_machine(call: Call) -> Reply:
    """One machine of a licence, by id or fingerprint."""
    licence = the_licence(call, "machine.read")
    for row in machines_of(call, licence):
        alias = call.path["machine"]
        if alias == row["fingerprint"] or alias.lower() == row["id"]:
            return Reply(document={"data": machine_resource(call, row)})
    raise not_found("machine", call.path["machine"])


def _page_of(call: Call, rows: list[Row]) -> Reply:
    chosen = [row for row in rows if _matches(call, row)]
    return page(call, [machine_resource(call, row) for row in chosen])


def _matches(call: Call, row: Row) -> bool:
    truths = {name: row[name] for name in ("fingerprint", "ip", "hostname")}
    truths |= {"license": row["licence_id"], "policy": row["policy_id"]}
    truths["product"] = row["product_id"]
    if any(call.filter(name) not in (None, truth) for name, truth in truths.items()):
        return False
    key, user = call.filter("key"), call.filter("user")
    if key is not None or user is not None:
        licence = call.database.by_id("licences", row["licence_id"]) or {}
        owner = found_user(call, user)
        if key not in (None, licence["key"]):
            return False
        if user is not None and (owner is None or owner["id"] != licence["owner_id"]):
            return False
    return matches_metadata(call, row)


def show_machine(call: Call) -> Reply:
    """By id or fingerprint; 200 or 404."""
    return Reply(document={"data": machine_resource(call, the_machine(call, "machine.read"))})


def show_machine_licence(call: Call) -> Reply:
    """The licence a machine belongs to."""
    machine = the_machine(call, "license.read")
    licence = call.database.by_id("licences", machine["licence_id"]) or {}
    return Reply(document={"data": licence_resource(call, licence)})


def update_machine(call: Call) -> Reply:
    """200 with the machine changed; metadata and sizes are for those who sell, not for licences."""
    row = the_machine(call, "machine.update")
    known = dict(_FOR_ALL)
    if call.bearer.role == "license":
        licence = call.database.by_id("licences", row["licence_id"]) or {}
        if licence["protected"]:
            raise denied()
    else:
        known |= _FOR_SELLERS
    return changed_machine(call, row, call.attributes("machines", known))


def delete_machine(call: Call) -> Reply:
    """204; the place is free again."""
    row = the_machine(call, "machine.delete")
    call.database.delete("machines", row["id"])
    return Reply(204)


def changed_machine(
    call: Call, row: Row, changes: Mapping[str, Any], *, status: str | None = None
) -> Reply:
    """200 with the machine after ``changes``; ``status`` overrides its heartbeat's."""
    changes = {**changes, "updated": call.time}
    call.database.update("machines", row["id"], changes)
    return Reply(document={"data": machine_resource(call, {**row, **changes}, status)})
