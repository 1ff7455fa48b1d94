"""Policies: the rules that licences of one kind share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shimmy_sandbox.keygen.call import METADATA, Call, Reply
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.paging import page
from shimmy_sandbox.keygen.parameters import (
    FLAG,
    INTEGER_OR_NULL,
    LARGEST,
    TEXT,
    TEXT_OR_NULL,
    Kind,
    unsimulated,
)
from shimmy_sandbox.keygen.permissions import denied, require, require_product
from shimmy_sandbox.keygen.records import found, policy_of, the_licence
from shimmy_sandbox.keygen.resources import policy_resource
from shimmy_sandbox.keygen.wire import WireError, error, not_found, snake

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "machineUniquenessStrategy": (
        "UNIQUE_PER_LICENSE",
        "UNIQUE_PER_POLICY",
        "UNIQUE_PER_PRODUCT",
        "UNIQUE_PER_ACCOUNT",
    ),
    "machineMatchingStrategy": ("MATCH_ANY", "MATCH_TWO", "MATCH_MOST", "MATCH_ALL"),
    "expirationStrategy": (
        "RESTRICT_ACCESS",
        "REVOKE_ACCESS",
        "MAINTAIN_ACCESS",
        "ALLOW_ACCESS",
    ),
    "expirationBasis": (
        "FROM_CREATION",
        "FROM_FIRST_VALIDATION",
        "FROM_FIRST_ACTIVATION",
        "FROM_FIRST_USE",
    ),
    "renewalBasis": ("FROM_EXPIRY", "FROM_NOW", "FROM_NOW_IF_EXPIRED"),
    "transferStrategy": ("KEEP_EXPIRY", "RESET_EXPIRY"),
    "authenticationStrategy": ("TOKEN", "LICENSE", "MIXED", "NONE"),
    "overageStrategy": (
        "NO_OVERAGE",
        "ALLOW_1_25X_OVERAGE",
        "ALLOW_1_5X_OVERAGE",
        "ALLOW_2X_OVERAGE",
        "ALWAYS_ALLOW_OVERAGE",
    ),
    "heartbeatResurrectionStrategy": (
        "NO_REVIVE",
        "1_MINUTE_REVIVE",
        "2_MINUTE_REVIVE",
        "5_MINUTE_REVIVE",
        "10_MINUTE_REVIVE",
        "15_MINUTE_REVIVE",
        "ALWAYS_REVIVE",
    ),
    "heartbeatCullStrategy": ("DEACTIVATE_DEAD", "KEEP_DEAD"),
    "heartbeatBasis": ("FROM_FIRST_PING", "FROM_CREATION"),
}
"""Strategies by name, Keygen's default first."""
_SCOPES = ("Product", "Policy", "Machine", "Fingerprint", "Components", "User", "Checksum")
_FLAGS = (
    *("strict", "floating", "protected", "requireCheckIn", "requireHeartbeat"),
    *(f"require{name}Scope" for name in (*_SCOPES, "Version")),
)
_NUMBERS = ("duration", "maxMachines", "maxUses", "checkInIntervalCount", "heartbeatDuration")
_FIXED: Mapping[str, Any] = {
    **dict.fromkeys(("maxProcesses", "maxUsers", "maxCores", "maxMemory", "maxDisk")),
    "usePool": False,
    "encrypted": False,
    "componentUniquenessStrategy": "UNIQUE_PER_MACHINE",
    "componentMatchingStrategy": "MATCH_ANY",
    "machineLeasingStrategy": "PER_LICENSE",
    "processLeasingStrategy": "PER_MACHINE",
}
"""Settings the sandbox does not simulate, at the one value it lives by."""
_DEFAULTS: Mapping[str, Any] = {
    "name": None,
    **dict.fromkeys(_NUMBERS),
    **dict.fromkeys(_FLAGS, False),
    "checkInInterval": None,
    "scheme": None,
    **{name: choices[0] for name, choices in _CHOICES.items()},
    **_FIXED,
}
_CHANGEABLE: Mapping[str, Kind] = {
    "name": TEXT,
    "checkInInterval": TEXT_OR_NULL,
    **dict.fromkeys(_FLAGS, FLAG),
    **dict.fromkeys(_NUMBERS, INTEGER_OR_NULL),
    **dict.fromkeys(_CHOICES, TEXT),
    **{name: unsimulated(only) for name, only in _FIXED.items()},
    "metadata": METADATA,
}
_SMALLEST = {"duration": 86_400, "heartbeatDuration": 60, "maxUses": 0, "checkInIntervalCount": 1}


def create_policy(call: Call) -> Reply:
    """201 with the policy; 422 names everything that is wrong."""
    require(call, "policy.create")
    sent = call.attributes("policies", {**_CHANGEABLE, "scheme": TEXT_OR_NULL})
    product_id = call.related("policies", "product", required=True)
    metadata = sent.pop("metadata", {})
    settings = {**_DEFAULTS, **sent}
    if not settings["floating"] and settings["maxMachines"] is None:
        settings["maxMachines"] = 1
    if settings["requireHeartbeat"] and "heartbeatBasis" not in sent:
        settings["heartbeatBasis"] = "FROM_CREATION"
    identifier, wrong = call.chosen_id("policies", "policies")
    if call.database.by_id("products", product_id) is None:
        pointer = "/data/relationships/product"
        wrong.append(error("must exist", "PRODUCT_NOT_FOUND", pointer=pointer))
    wrong += _wrong(settings)
    if wrong:
        raise WireError.listing(422, *wrong)
    require_product(call, str(product_id))
    row = call.stamped(identifier) | {
        "product_id": product_id,
        "settings": settings,
        "metadata": metadata,
    }
    call.database.insert("policies", row)
    location = {"Location": f"{call.base}/policies/{identifier}"}
    return Reply(201, {"data": policy_resource(call, row)}, location)


def update_policy(call: Call) -> Reply:
    """200 with the policy changed; licences follow at once."""
    row = the_policy(call, "policy.update")
    sent = call.attributes("policies", _CHANGEABLE)
    changes: Row = {"updated": call.time}
    if "metadata" in sent:
        changes["metadata"] = sent.pop("metadata")
    changes["settings"] = {**row["settings"], **sent}
    wrong = _wrong(changes["settings"])
    if wrong:
        raise WireError.listing(422, *wrong)
    call.database.update("policies", row["id"], changes)
    return Reply(document={"data": policy_resource(call, {**row, **changes})})


def delete_policy(call: Call) -> Reply:
    """204; its licences and their machines go with it."""
    call.database.delete("policies", the_policy(call, "policy.delete")["id"])
    return Reply(204)


def show_policy(call: Call) -> Reply:
    """200 or 404."""
    return Reply(document={"data": policy_resource(call, the_policy(call, "policy.read"))})


def list_policies(call: Call) -> Reply:
    """A page of policies, newest first; filter by ``product``."""
    require(call, "policy.read")
    product, rows = call.filter("product"), call.database.newest("policies")
    if call.bearer.role == "product":
        rows = [row for row in rows if row["product_id"] == call.bearer.id]
    chosen = [row for row in rows if product in (None, row["product_id"])]
    return page(call, [policy_resource(call, row) for row in chosen])


def show_licence_policy(call: Call) -> Reply:
    """The policy of a licence."""
    policy = policy_of(call, the_licence(call, "policy.read"))
    return Reply(document={"data": policy_resource(call, policy)})


def the_policy(call: Call, action: str) -> Row:
    """The policy the path names, and the right to ``action`` on it."""
    require(call)
    if call.bearer.role == "license":
        raise denied("license lacks permission to perform action")
    row = found(call, "policies", "policy")
    if call.bearer.role == "product" and row["product_id"] != call.bearer.id:
        raise not_found("policy", row["id"])
    require(call, action)
    return row


def _wrong(settings: Row) -> list[dict[str, Any]]:
    wrong = [] if settings["name"] else [_error("name", "cannot be blank", "MISSING")]
    for name, choices in _CHOICES.items():
        if settings[name] not in choices:
            words = snake(name).replace("_", " ")
            wrong.append(_error(name, f"unsupported {words}", "NOT_ALLOWED"))
    if settings["scheme"] not in (None, "ED25519_SIGN"):
        detail = "is not simulated by this sandbox (only ED25519_SIGN)"
        wrong.append(_error("scheme", detail, "NOT_ALLOWED"))
    for name, least in _SMALLEST.items():
        if settings[name] is not None and settings[name] < least:
            wrong.append(_error(name, f"must be greater than or equal to {least}", "INVALID"))
        if settings[name] is not None and settings[name] > LARGEST:
            wrong.append(_error(name, f"must be less than or equal to {LARGEST}", "INVALID"))
    return wrong + _machines_wrong(settings) + _check_in_wrong(settings)


def _machines_wrong(settings: Row) -> list[dict[str, Any]]:
    limit, wrong = settings["maxMachines"], []
    if not settings["floating"] and limit != 1:
        detail = "must be equal to 1 for non-floating policy"
        wrong.append(_error("maxMachines", detail, "INVALID"))
    if settings["floating"] and limit is not None and limit < 1:
        detail = "must be greater than or equal to 1 for floating policy"
        wrong.append(_error("maxMachines", detail, "INVALID"))
    parts = {"ALLOW_1_25X_OVERAGE": 4, "ALLOW_1_5X_OVERAGE": 2}.get(settings["overageStrategy"])
    if parts and (not settings["floating"] or (limit or 0) % parts):
        detail = "incompatible overage strategy (these machines cannot be split so)"
        wrong.append(_error("overageStrategy", detail, "NOT_ALLOWED"))
    return wrong


def _check_in_wrong(settings: Row) -> list[dict[str, Any]]:
    if not settings["requireCheckIn"]:
        return []
    wrong = []
    if settings["checkInInterval"] not in ("day", "week", "month", "year"):
        detail = "must be one of: day, week, month, year"
        wrong.append(_error("checkInInterval", detail, "NOT_ALLOWED"))
    if settings["checkInIntervalCount"] not in range(1, 366):
        detail = "must be a number between 1 and 365 inclusive"
        wrong.append(_error("checkInIntervalCount", detail, "NOT_ALLOWED"))
    return wrong


def _error(name: str, detail: str, reason: str) -> dict[str, Any]:
    code = f"{snake(name).upper()}_{reason}"
    return error(detail, code, pointer=f"/data/attributes/{name}")
