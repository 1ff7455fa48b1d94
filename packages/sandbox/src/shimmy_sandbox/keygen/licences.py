"""Licences: made, found, changed, removed."""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from shimmy_sandbox.keygen.calendar_time import add_duration
from shimmy_sandbox.keygen.call import METADATA, Call, Reply
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.paging import matches_metadata, page
from shimmy_sandbox.keygen.parameters import (
    FLAG,
    INTEGER_OR_NULL,
    TEXT,
    TEXT_OR_NULL,
    TIME_OR_NULL,
    Kind,
    unsimulated,
)
from shimmy_sandbox.keygen.permissions import refuse_licences, require, require_product
from shimmy_sandbox.keygen.records import found_user, the_licence, visible_licences
from shimmy_sandbox.keygen.resources import licence_resource, licence_status
from shimmy_sandbox.keygen.wire import WireError, error, written_time

_CHANGEABLE: Mapping[str, Kind] = {
    "name": TEXT_OR_NULL,
    "expiry": TIME_OR_NULL,
    "protected": FLAG,
    "suspended": FLAG,
    "maxMachines": INTEGER_OR_NULL,
    "maxUses": INTEGER_OR_NULL,
    "metadata": METADATA,
    **dict.fromkeys(
        ("maxCores", "maxMemory", "maxDisk", "maxProcesses", "maxUsers"), unsimulated()
    ),
}
_COLUMNS = {
    "name": "name",
    "expiry": "expiry",
    "protected": "protected",
    "suspended": "suspended",
    "maxMachines": "max_machines",
    "maxUses": "max_uses",
    "metadata": "metadata",
}
_SHORTEST_KEY = 6


def create_licence(call: Call) -> Reply:
    """201 with the licence and its Location; 422 names everything that is wrong."""
    require(call, "license.create")
    sent = call.attributes("licenses", {**_CHANGEABLE, "key": TEXT})
    policy_id = call.related("licenses", "policy", required=True)
    owner_id = call.related("licenses", "owner") or call.related("licenses", "user")
    identifier, wrong = call.chosen_id("licenses", "licences")
    policy = call.database.by_id("policies", policy_id)
    if policy is None:
        wrong.append(_must_exist("policy"))
    else:
        require_product(call, policy["product_id"])
        wrong += _limits_wrong(sent, policy["settings"])
    if owner_id is not None and found_user(call, owner_id) is None:
        wrong.append(_must_exist("owner"))
    wrong += _key_wrong(call, sent.get("key"), policy)
    if wrong or policy is None:
        raise WireError.listing(422, *wrong)
    row = _new_row(call, identifier, policy, owner_id) | _columns(sent)
    row["key"] = _final_key(call, row, policy, sent.get("key"))
    call.database.insert("licences", row)
    created = call.database.by_id("licences", identifier) or {}
    location = {"Location": f"{call.base}/licenses/{identifier}"}
    return Reply(201, {"data": licence_resource(call, created)}, location)


def _new_row(call: Call, identifier: str, policy: Row, owner_id: str | None) -> Row:
    settings = policy["settings"]
    starts_now = settings["expirationBasis"] == "FROM_CREATION" and settings["duration"]
    return call.stamped(identifier) | {
        "policy_id": policy["id"],
        "owner_id": owner_id,
        "protected": settings["protected"],
        "expiry": written_time(add_duration(call.now, settings["duration"]))
        if starts_now
        else None,
        "last_check_in": call.time if settings["requireCheckIn"] else None,
        "metadata": {},
    }


def list_licences(call: Call) -> Reply:
    """A page of licences, newest first; filters are ANDed."""
    require(call, "license.read")
    refuse_licences(call)
    chosen = [row for row in visible_licences(call) if _matches(call, row)]
    return page(call, [licence_resource(call, row) for row in chosen])


def _matches(call: Call, row: Row) -> bool:
    filters = {"policy": row["policy_id"], "product": row["product_id"]}
    if any(call.filter(name) not in (None, truth) for name, truth in filters.items()):
        return False
    for name in ("user", "owner"):
        asked = call.filter(name)
        if asked is None:
            continue
        user = found_user(call, asked)
        if user is None or user["id"] != row["owner_id"]:
            return False
    suspended, status = call.filter("suspended"), call.filter("status")
    if suspended is not None and row["suspended"] != (suspended in ("true", "1")):
        return False
    if status is not None and licence_status(row, call.now) != status.upper():
        return False
    return matches_metadata(call, row)


def show_licence(call: Call) -> Reply:
    """By id or key; 200 or 404."""
    return Reply(document={"data": licence_resource(call, the_licence(call, "license.read"))})


def update_licence(call: Call) -> Reply:
    """200 with the licence changed; ``metadata`` is replaced whole."""
    row = the_licence(call, "license.update")
    sent = call.attributes("licenses", _CHANGEABLE)
    policy = call.database.by_id("policies", row["policy_id"]) or {}
    wrong = _limits_wrong(sent, policy["settings"])
    if wrong:
        raise WireError.listing(422, *wrong)
    return changed(call, row, _columns(sent))


def delete_licence(call: Call) -> Reply:
    """204; gone with its machines and tokens, and its id free again."""
    row = the_licence(call, "license.delete")
    remove_licence(call, row)
    return Reply(204)


def revoke_licence(call: Call) -> Reply:
    """204; the same as deleting."""
    row = the_licence(call, "license.revoke")
    remove_licence(call, row)
    return Reply(204)


def remove_licence(call: Call, row: Row) -> None:
    """Delete ``row`` and the tokens that speak for it."""
    for token in call.database.rows("SELECT id FROM tokens WHERE bearer_id = ?", row["id"]):
        call.database.delete("tokens", token["id"])
    call.database.delete("licences", row["id"])


def changed(call: Call, row: Row, changes: Mapping[str, Any]) -> Reply:
    """200 with the licence after ``changes`` to its columns."""
    changes = {**changes, "updated": call.time}
    call.database.update("licences", row["id"], changes)
    return Reply(document={"data": licence_resource(call, {**row, **changes})})


def start_expiry(call: Call, licence: Row, settings: Row, basis: str) -> Row:
    """``licence``, its time running from now if its policy counts from this first ``basis``."""
    if licence["expiry"] or settings["expirationBasis"] != basis or not settings["duration"]:
        return licence
    expiry = written_time(add_duration(call.now, settings["duration"]))
    call.database.update("licences", licence["id"], {"expiry": expiry})
    return {**licence, "expiry": expiry}


def _columns(sent: Mapping[str, Any]) -> Row:
    return {_COLUMNS[name]: value for name, value in sent.items() if name in _COLUMNS}


def _must_exist(relation: str) -> dict[str, Any]:
    pointer = f"/data/relationships/{relation}"
    return error("must exist", f"{relation.upper()}_NOT_FOUND", pointer=pointer)


def _limits_wrong(sent: Mapping[str, Any], settings: Row) -> list[dict[str, Any]]:
    wrong = []
    machines, uses = sent.get("maxMachines"), sent.get("maxUses")
    pointer = "/data/attributes/maxMachines"
    if machines is not None and settings["floating"] and machines < 1:
        detail = "must be greater than or equal to 1 for floating policy"
        wrong.append(error(detail, "MAX_MACHINES_INVALID", pointer=pointer))
    if machines is not None and not settings["floating"] and machines != 1:
        detail = "must be equal to 1 for non-floating policy"
        wrong.append(error(detail, "MAX_MACHINES_INVALID", pointer=pointer))
    if uses is not None and uses < 0:
        detail = "must be greater than or equal to 0"
        wrong.append(error(detail, "MAX_USES_INVALID", pointer="/data/attributes/maxUses"))
    return wrong


def _key_wrong(call: Call, key: str | None, policy: Row | None) -> list[dict[str, Any]]:
    if key is None:
        return []
    pointer, wrong = "/data/attributes/key", []
    if call.database.by_id("licences", key):
        detail = "must not conflict with another license's identifier (UUID)"
        wrong.append(error(detail, "KEY_CONFLICT", pointer=pointer))
    if key in ("action", "actions"):
        wrong.append(error("is reserved", "KEY_NOT_ALLOWED", pointer=pointer))
    if call.database.one("SELECT 1 FROM licences WHERE key = ?", key):
        wrong.append(error("has already been taken", "KEY_TAKEN", pointer=pointer))
    shortest = 1 if policy and policy["settings"]["scheme"] else _SHORTEST_KEY
    if len(key) < shortest:
        detail = f"is too short (minimum is {shortest} characters)"
        wrong.append(error(detail, "KEY_TOO_SHORT", pointer=pointer))
    return wrong


def _final_key(call: Call, row: Row, policy: Row, chosen: str | None) -> str:
    if policy["settings"]["scheme"] is None:
        return chosen or _random_key()
    data = _encoded((chosen or _seed(call, row, policy)).encode())
    return f"key/{data}.{_encoded(call.key.sign(f'key/{data}'.encode()))}"


def _random_key() -> str:
    """Five groups of six hex digits and the version of the scheme, as Keygen's are."""
    return "-".join(re.findall(".{1,6}", secrets.token_hex(15) + "v3")).upper()


def _seed(call: Call, row: Row, policy: Row) -> str:
    owner = found_user(call, row["owner_id"])
    said = {
        "account": {"id": call.account["id"]},
        "product": {"id": policy["product_id"]},
        "policy": {"id": policy["id"], "duration": policy["settings"]["duration"]},
        "user": {"id": owner["id"], "email": owner["email"]} if owner else None,
        "license": {"id": row["id"], "created": row["created"], "expiry": row["expiry"]},
    }
    return json.dumps(said, separators=(",", ":"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()
