"""The three ways to ask whether a licence is valid."""

from __future__ import annotations

from typing import Any

from shimmy_sandbox.keygen.call import Call, Reply
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.licences import start_expiry
from shimmy_sandbox.keygen.parameters import INTEGER, LIST, OBJECT, TEXT, TEXT_OR_NULL, checked
from shimmy_sandbox.keygen.permissions import denied, require_product
from shimmy_sandbox.keygen.records import (
    entitlements_of,
    found_user,
    machines_of,
    policy_of,
    the_licence,
)
from shimmy_sandbox.keygen.resources import (
    heartbeat_status,
    licence_resource,
    machine_limit,
    next_check_in,
)
from shimmy_sandbox.keygen.validation import Examined, SeenMachine, Verdict, validate
from shimmy_sandbox.keygen.wire import read_time, refusal

_SCOPE = {
    **dict.fromkeys(("product", "policy", "machine", "fingerprint", "checksum", "version"), TEXT),
    "user": TEXT_OR_NULL,
    **dict.fromkeys(("fingerprints", "components", "entitlements"), LIST),
}
_META = {"nonce": INTEGER, "scope": OBJECT}


def quick_validate(call: Call) -> Reply:
    """200; GET, without any question about scope."""
    row = the_licence(call, "license.validate")
    verdict = validate(_examined(call, row), None, call.now, quick=True)
    return _reply(call, _touched(call, row), verdict, {})


def validate_licence(call: Call) -> Reply:
    """200; the licence by id or key, its bearer authenticated."""
    row = the_licence(call, "license.validate")
    meta = call.meta(_META)
    return _judged(call, row, meta)


def validate_key(call: Call) -> Reply:
    """200 even for a key nobody has; no credentials needed, but wrong ones are refused."""
    meta = call.meta({"key": TEXT, **_META})
    if not meta.get("key"):
        reason = "cannot be blank" if "key" in meta else "is missing"
        raise refusal(400, reason, pointer="/meta/key")
    row = call.database.one("SELECT * FROM licences WHERE key = ?", meta["key"])
    if row is not None:
        if call.bearer.role == "license" and call.bearer.id != row["id"]:
            raise denied()
        require_product(call, policy_of(call, row)["product_id"])
    return _judged(call, row, meta)


def _judged(call: Call, row: Row | None, meta: dict[str, Any]) -> Reply:
    scope = _checked_scope(meta["scope"]) if "scope" in meta else None
    examined = None if row is None else _examined(call, row)
    verdict = validate(examined, scope, call.now)
    if row is not None:
        settings = policy_of(call, row)["settings"]
        row = start_expiry(call, _touched(call, row), settings, "FROM_FIRST_VALIDATION")
    said = {name: meta[name] for name in ("nonce",) if name in meta}
    return _reply(call, row, verdict, said if scope is None else {**said, "scope": scope})


def _checked_scope(sent: dict[str, Any]) -> dict[str, Any]:
    scope = checked(sent, _SCOPE, "/meta/scope")
    for name in ("fingerprints", "components", "entitlements"):
        for place, item in enumerate(scope.get(name, ())):
            TEXT.check(item, f"/meta/scope/{name}/{place}")
    return scope


def _touched(call: Call, row: Row) -> Row:
    call.database.update("licences", row["id"], {"last_validated": call.time})
    return {**row, "last_validated": call.time}


def _reply(call: Call, row: Row | None, verdict: Verdict, said: dict[str, Any]) -> Reply:
    meta = {"ts": call.time, **verdict._asdict(), **said}
    data = None if row is None else licence_resource(call, row)
    return Reply(document={"data": data, "meta": meta})


def _examined(call: Call, row: Row) -> Examined:
    policy = policy_of(call, row)
    settings, owner = policy["settings"], found_user(call, row["owner_id"])
    due = next_check_in(row, settings)
    return Examined(
        policy_id=policy["id"],
        product_id=policy["product_id"],
        owner_id=row["owner_id"],
        owner_email=owner["email"] if owner else None,
        suspended=row["suspended"],
        expiry=read_time(row["expiry"]) if row["expiry"] else None,
        next_check_in=read_time(due) if due else None,
        max_machines=machine_limit(row, settings),
        settings=settings,
        entitlements=frozenset(one["code"] for one in entitlements_of(call, row)),
        machines=[
            SeenMachine(one["id"], one["fingerprint"], heartbeat_status(one, settings, call.now))
            for one in machines_of(call, row)
        ],
    )
