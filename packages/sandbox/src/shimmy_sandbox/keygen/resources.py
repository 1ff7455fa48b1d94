"""How rows look on the wire: resource objects with their links."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any

from shimmy_sandbox.keygen.calendar_time import add_months
from shimmy_sandbox.keygen.call import Call
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.wire import linked, metadata_out, read_time, resource, written_time

_HEARTBEAT_SECONDS = 600
_SOON, _DORMANT = timedelta(days=3), timedelta(days=90)


def account_resource(call: Call) -> dict[str, Any]:
    """The account itself, less than Keygen tells: its name, its slug and its key."""
    account = call.account
    attributes = {"name": "Shimmy sandbox", "slug": account["slug"]}
    # As Keygen writes it: Base64, of the hexadecimal digits that its dashboard shows.
    key = base64.b64encode(call.key.public_hex.encode()).decode()
    return {**resource("accounts", account, attributes, {}), "meta": {"keys": {"ed25519": key}}}


def admin_resource(call: Call) -> dict[str, Any]:
    """The one admin there is."""
    row = {**call.account, "id": call.bearer.id}
    attributes = {"email": "admin@shimmy-sandbox.test", "role": "admin", "status": "ACTIVE"}
    return resource("users", row, attributes, {"account": _account(call)})


def product_resource(call: Call, row: Row) -> dict[str, Any]:
    """As the wire shows a product."""
    attributes = {
        "name": row["name"],
        "code": row["code"],
        "distributionStrategy": row["distribution_strategy"],
        "url": row["url"],
        "platforms": row["platforms"],
        "metadata": metadata_out(row["metadata"]),
    }
    path = f"{call.base}/products/{row['id']}"
    many = ("policies", "licenses", "machines", "tokens")
    related = {"account": _account(call)} | {name: _many(f"{path}/{name}") for name in many}
    return _with_self(resource("products", row, attributes, related), path)


def policy_resource(call: Call, row: Row) -> dict[str, Any]:
    """As the wire shows a policy."""
    attributes = {**row["settings"], "metadata": metadata_out(row["metadata"])}
    path = f"{call.base}/policies/{row['id']}"
    related = {
        "account": _account(call),
        "product": linked("products", row["product_id"], f"{path}/product"),
        "licenses": _many(f"{path}/licenses"),
        "entitlements": _many(f"{path}/entitlements"),
    }
    return _with_self(resource("policies", row, attributes, related), path)


def entitlement_resource(call: Call, row: Row) -> dict[str, Any]:
    """As the wire shows an entitlement."""
    attributes = {
        "name": row["name"],
        "code": row["code"],
        "metadata": metadata_out(row["metadata"]),
    }
    path = f"{call.base}/entitlements/{row['id']}"
    return _with_self(resource("entitlements", row, attributes, {"account": _account(call)}), path)


def user_resource(call: Call, row: Row) -> dict[str, Any]:
    """As the wire shows a user."""
    names = [name for name in (row["first_name"], row["last_name"]) if name]
    attributes = {
        "fullName": " ".join(names) if len(names) == 2 else None,
        "firstName": row["first_name"],
        "lastName": row["last_name"],
        "email": row["email"],
        "status": "ACTIVE",
        "role": "user",
        "metadata": metadata_out(row["metadata"]),
    }
    path = f"{call.base}/users/{row['id']}"
    related = {
        "account": _account(call),
        "licenses": _many(f"{path}/licenses"),
        "machines": _many(f"{path}/machines"),
    }
    return _with_self(resource("users", row, attributes, related), path)


def licence_resource(call: Call, row: Row) -> dict[str, Any]:
    """As the wire shows a licence: limits of its own before those of its policy."""
    policy = call.database.by_id("policies", row["policy_id"]) or {}
    settings = policy["settings"]
    attributes = {
        **{name: row[name] for name in ("name", "key", "expiry")},
        "status": licence_status(row, call.now),
        **{name: row[name] for name in ("uses", "suspended", "protected")},
        **{name: settings[name] for name in ("scheme", "encrypted", "strict", "floating")},
        "version": None,
        "maxMachines": machine_limit(row, settings),
        "maxUses": use_limit(row, settings),
        **{name: settings[name] for name in _POLICY_LIMITS},
        "lastValidated": row["last_validated"],
        "lastCheckIn": row["last_check_in"],
        "nextCheckIn": next_check_in(row, settings),
        "lastCheckOut": row["last_check_out"],
        "metadata": metadata_out(row["metadata"]),
    }
    path = f"{call.base}/licenses/{row['id']}"
    related = {
        "account": _account(call),
        "product": linked("products", policy["product_id"], f"{path}/product"),
        "policy": linked("policies", row["policy_id"], f"{path}/policy"),
        "group": linked("groups", None, f"{path}/group"),
        "owner": linked("users", row["owner_id"], f"{path}/owner"),
        "users": {**_many(f"{path}/users"), "meta": {"count": int(row["owner_id"] is not None)}},
        "machines": {**_many(f"{path}/machines"), "meta": _machine_counts(call, row["id"])},
        "tokens": _many(f"{path}/tokens"),
        "entitlements": _many(f"{path}/entitlements"),
    }
    return _with_self(resource("licenses", row, attributes, related), path)


_POLICY_LIMITS = (
    "maxProcesses",
    "maxUsers",
    "maxCores",
    "maxMemory",
    "maxDisk",
    "requireHeartbeat",
    "requireCheckIn",
)


def licence_status(row: Row, now: datetime) -> str:
    """SUSPENDED, EXPIRED, EXPIRING (within 3 days), INACTIVE (90 days unused) or ACTIVE."""
    if row["suspended"]:
        return "SUSPENDED"
    expiry = read_time(row["expiry"]) if row["expiry"] else None
    if expiry and expiry < now:
        return "EXPIRED"
    if expiry and now < expiry < now + _SOON:
        return "EXPIRING"
    used = ("created", "last_validated", "last_check_out", "last_check_in")
    recent = any(row[one] and read_time(row[one]) >= now - _DORMANT for one in used)
    return "ACTIVE" if recent else "INACTIVE"


def machine_limit(row: Row, settings: Row) -> int | None:
    """How many machines a licence may have; None is any number."""
    limit: int | None = row["max_machines"]
    if limit is None:
        limit = settings["maxMachines"]
    return limit


def use_limit(row: Row, settings: Row) -> int | None:
    """How often a licence may be used; None is any number."""
    limit: int | None = row["max_uses"] if row["max_uses"] is not None else settings["maxUses"]
    return limit


def next_check_in(row: Row, settings: Row) -> str | None:
    """When a licence that has to check in is overdue."""
    if not settings["requireCheckIn"] or row["last_check_in"] is None:
        return None
    last, count = read_time(row["last_check_in"]), settings["checkInIntervalCount"]
    match settings["checkInInterval"]:
        case "day":
            return written_time(last + timedelta(days=count))
        case "week":
            return written_time(last + timedelta(weeks=count))
        case "month":
            return written_time(add_months(last, count))
        case _:
            return written_time(add_months(last, 12 * count))


def machine_resource(call: Call, row: Row, status: str | None = None) -> dict[str, Any]:
    """As the wire shows a machine; ``status`` overrides its heartbeat's."""
    licence = call.database.by_id("licences", row["licence_id"]) or {}
    policy = call.database.by_id("policies", licence["policy_id"]) or {}
    settings = policy["settings"]
    beat = row["last_heartbeat"]
    following = read_time(beat) + heartbeat_duration(settings) if beat else None
    shown = ("fingerprint", "cores", "memory", "disk", "ip", "hostname", "platform", "name")
    attributes = {
        **{name: row[name] for name in shown},
        "requireHeartbeat": bool(settings["requireHeartbeat"] or beat),
        "heartbeatStatus": status or heartbeat_status(row, settings, call.now),
        "heartbeatDuration": int(heartbeat_duration(settings).total_seconds()),
        "maxProcesses": settings["maxProcesses"],
        "lastCheckOut": row["last_check_out"],
        "lastHeartbeat": beat,
        "nextHeartbeat": written_time(following) if following else None,
        "metadata": metadata_out(row["metadata"]),
    }
    path = f"{call.base}/machines/{row['id']}"
    related = {
        "account": _account(call),
        "product": linked("products", policy["product_id"], f"{path}/product"),
        "group": linked("groups", None, f"{path}/group"),
        "license": linked("licenses", row["licence_id"], f"{path}/license"),
        "owner": linked("users", None, f"{path}/owner"),
        "components": _many(f"{path}/components"),
        "processes": _many(f"{path}/processes"),
    }
    return _with_self(resource("machines", row, attributes, related), path)


def heartbeat_duration(settings: Row) -> timedelta:
    """How long a machine may be silent."""
    return timedelta(seconds=settings["heartbeatDuration"] or _HEARTBEAT_SECONDS)


def heartbeat_status(row: Row, settings: Row, now: datetime) -> str:
    """NOT_STARTED, ALIVE or DEAD; one that never pings dies only if its policy wants pings."""
    silent_since = read_time(row["last_heartbeat"] or row["created"])
    overdue = silent_since + heartbeat_duration(settings) < now
    if row["last_heartbeat"] is None:
        return "DEAD" if settings["requireHeartbeat"] and overdue else "NOT_STARTED"
    return "DEAD" if overdue else "ALIVE"


def token_resource(call: Call, row: Row, token: str | None = None) -> dict[str, Any]:
    """As the wire shows a token; ``token`` itself only when it was just made."""
    kind = "activation" if row["kind"] == "license" else row["kind"]
    attributes = {"kind": f"{kind}-token", "expiry": row["expiry"], "name": row["name"]}
    if row["permissions"] is not None:
        attributes["permissions"] = row["permissions"]
    if token is not None:
        attributes["token"] = token
    bearers = {"license": "licenses", "product": "products", "admin": "users"}[row["kind"]]
    related = {
        "account": _account(call),
        "bearer": linked(bearers, row["bearer_id"], f"{call.base}/{bearers}/{row['bearer_id']}"),
    }
    path = f"{call.base}/tokens/{row['id']}"
    return _with_self(resource("tokens", row, attributes, related), path)


def attachment_resource(call: Call, owner: str, row: Row) -> dict[str, Any]:
    """How an entitlement attached to a ``policy`` or ``license`` looks on the wire."""
    column, kind = ("policy_id", "policies") if owner == "policy" else ("licence_id", "licenses")
    entitlement = row["entitlement_id"]
    related = {
        "account": _account(call),
        "entitlement": linked(
            "entitlements", entitlement, f"{call.base}/entitlements/{entitlement}"
        ),
        owner: linked(kind, row[column], f"{call.base}/{kind}/{row[column]}"),
    }
    return resource(f"{owner}-entitlements", row, {}, related)


def _account(call: Call) -> dict[str, Any]:
    return linked("accounts", call.account["id"], call.base)


def _many(related: str) -> dict[str, Any]:
    return {"links": {"related": related}}


def _with_self(made: dict[str, Any], path: str) -> dict[str, Any]:
    return {**made, "links": {"self": path}}


def _machine_counts(call: Call, licence_id: str) -> dict[str, Any]:
    sums = ", ".join(f"coalesce(sum({name}), 0) {name}" for name in ("cores", "memory", "disk"))
    # The names are those of the line above.
    sql = f"SELECT {sums}, count(*) count FROM machines WHERE licence_id = ?"  # noqa: S608
    return call.database.one(sql, licence_id) or {}
