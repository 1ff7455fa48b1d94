"""Check-out: a licence or a machine as a signed file that can be read offline."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shimmy_sandbox.keygen.calendar_time import MONTH_SECONDS, add_duration
from shimmy_sandbox.keygen.call import Call, Reply
from shimmy_sandbox.keygen.certificates import Armour, Prefix, write_certificate
from shimmy_sandbox.keygen.database import Row
from shimmy_sandbox.keygen.parameters import (
    FLAG,
    INTEGER_OR_NULL,
    LARGEST,
    LIST,
    TEXT,
    TEXT_OR_NULL,
    checked,
)
from shimmy_sandbox.keygen.permissions import require
from shimmy_sandbox.keygen.records import (
    entitlements_of,
    found_user,
    policy_of,
    the_licence,
    the_machine,
)
from shimmy_sandbox.keygen.resources import (
    entitlement_resource,
    licence_resource,
    machine_resource,
    policy_resource,
    product_resource,
    user_resource,
)
from shimmy_sandbox.keygen.wire import linked, refusal, written_time

_SHORTEST_TTL = 3600
_META = {"encrypt": FLAG, "algorithm": TEXT_OR_NULL, "ttl": INTEGER_OR_NULL, "include": LIST}
_PERMISSIONS = {
    "entitlements": "entitlement.read",
    "product": "product.read",
    "policy": "policy.read",
    "owner": "user.read",
    "users": "user.read",
    "license": "license.read",
    "components": "component.read",
    "group": "group.read",
}
# What Keygen has and the sandbox does not is allowed and includes nothing.
_LICENCE_INCLUDES = {
    *("entitlements", "environment", "product", "policy", "group", "owner", "users"),
}
_MACHINE_INCLUDES = {
    *("license.entitlements", "license.product", "license.policy", "license.owner"),
    *("license.users", "license", "components", "environment", "group", "owner"),
}


def check_out_licence(call: Call) -> Reply:
    """200 with a ``license-files`` resource."""
    return _as_resource(call, *_licence_file(call))


def download_licence(call: Call) -> Reply:
    """200 with the ``.lic`` file itself."""
    return _as_download(*_licence_file(call))


def check_out_machine(call: Call) -> Reply:
    """200 with a ``machine-files`` resource."""
    return _as_resource(call, *_machine_file(call))


def download_machine(call: Call) -> Reply:
    """200 with the ``.lic`` file itself."""
    return _as_download(*_machine_file(call))


def _licence_file(call: Call) -> tuple[Prefix, Row, dict[str, Any]]:
    row = the_licence(call, "license.check-out")
    order = _order(call, _LICENCE_INCLUDES)
    included = _included(call, row, order["include"])
    data = licence_resource(call, row)
    file = _written(call, "license", data, included, order, secret=row["key"])
    call.database.update("licences", row["id"], {"last_check_out": call.time})
    related = {"license": linked("licenses", row["id"], f"{call.base}/licenses/{row['id']}")}
    return "license", row, {**file, "related": related}


def _machine_file(call: Call) -> tuple[Prefix, Row, dict[str, Any]]:
    row = the_machine(call, "machine.check-out")
    order = _order(call, _MACHINE_INCLUDES)
    licence = call.database.by_id("licences", row["licence_id"]) or {}
    names = [name.removeprefix("license.") for name in order["include"] if "license." in name]
    # A path through the licence includes the licence too, as JSON:API has it.
    whole = [licence_resource(call, licence)] if "license" in order["include"] or names else []
    included = whole + _included(call, licence, names)
    data = machine_resource(call, row)
    secret = licence["key"] + row["fingerprint"]
    file = _written(call, "machine", data, included, order, secret=secret)
    call.database.update("machines", row["id"], {"last_check_out": call.time})
    paths = {"license": ("licenses", licence["id"]), "machine": ("machines", row["id"])}
    related = {
        name: linked(kind, one, f"{call.base}/{kind}/{one}") for name, (kind, one) in paths.items()
    }
    return "machine", row, {**file, "related": related}


def _order(call: Call, includes: set[str]) -> dict[str, Any]:
    """What the file shall be, from the query and, before it, from ``meta``."""
    order: dict[str, Any] = {"encrypt": False, "algorithm": None, "include": []}
    order |= {"ttl": MONTH_SECONDS, **_from_query(call)}
    order |= checked(call.body.get("meta"), _META, "/meta")
    for place, name in enumerate(order["include"]):
        TEXT.check(name, f"/meta/include/{place}")
    order["include"] = list(dict.fromkeys(_renamed(name) for name in order["include"]))
    if not includes.issuperset(order["include"]):
        raise refusal(400, "invalid includes", "CHECKOUT_INCLUDE_INVALID", parameter="include")
    if order["ttl"] is not None and order["ttl"] < _SHORTEST_TTL:
        detail = "must be greater than or equal to 3600 (1 hour)"
        raise refusal(400, detail, "CHECKOUT_TTL_INVALID", parameter="ttl")
    if order["ttl"] is not None and order["ttl"] > LARGEST:
        raise refusal(400, "integer is too large", parameter="ttl")
    order["algorithm"] = _algorithm(order)
    last = [name.rpartition(".")[2] for name in order["include"]]
    require(call, *(_PERMISSIONS[name] for name in last if name in _PERMISSIONS))
    return order


def _renamed(name: str) -> str:
    """Owners were called users once."""
    return {"user": "owner", "license.user": "license.owner"}.get(name, name)


def _from_query(call: Call) -> dict[str, Any]:
    readers: Mapping[str, Callable[[str], Any]] = {
        "encrypt": lambda text: text in ("true", "1"),
        "algorithm": lambda text: text or None,
        "ttl": _ttl,
        "include": lambda text: [name for name in text.split(",") if name],
    }
    return {name: read(text) for name, text in call.query if (read := readers.get(name))}


def _ttl(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.lstrip("-").isdigit()):
        detail = "type mismatch (received string expected integer)"
        raise refusal(400, detail, parameter="ttl")
    return int(text)


def _algorithm(order: Mapping[str, Any]) -> str:
    made = "aes-256-gcm+ed25519" if order["encrypt"] else "base64+ed25519"
    algorithm: str = order["algorithm"] or made
    encoding, _, signing = algorithm.partition("+")
    code = "CHECKOUT_ALGORITHM_INVALID"
    if encoding not in ("aes-256-gcm", "base64"):
        raise refusal(400, "invalid encoding algorithm", code, parameter="algorithm")
    if signing != "ed25519":
        # Keygen signs files with RSA and P-256 too; the sandbox has no such keys.
        raise refusal(400, "invalid signing algorithm", code, parameter="algorithm")
    return algorithm


def _included(call: Call, licence: Row, names: Sequence[str]) -> list[dict[str, Any]]:
    policy, made = policy_of(call, licence), []
    for name in names:
        if name == "entitlements":
            made += [entitlement_resource(call, one) for one in entitlements_of(call, licence)]
        if name == "policy":
            made.append(policy_resource(call, policy))
        if name == "product":
            product = call.database.by_id("products", policy["product_id"]) or {}
            made.append(product_resource(call, product))
        owner = found_user(call, licence["owner_id"])
        if name in ("owner", "users") and owner is not None:
            made.append(user_resource(call, owner))
    return list({(one["type"], one["id"]): one for one in made}.values())


def _written(
    call: Call,
    prefix: Prefix,
    data: Mapping[str, Any],
    included: Sequence[Mapping[str, Any]],
    order: Mapping[str, Any],
    *,
    secret: str,
) -> dict[str, Any]:
    ttl = order["ttl"]
    expiry = None if ttl is None else written_time(add_duration(call.now, ttl))
    times = {"issued": call.time, "expiry": expiry, "ttl": ttl}
    document: dict[str, Any] = {"data": data, "meta": times}
    if order["include"]:
        document["included"] = included
    sealed = secret if order["algorithm"].startswith("aes") else None
    armour = Armour(prefix, order["algorithm"], sealed)
    certificate = write_certificate(document, armour, call.key)
    return {
        "certificate": certificate,
        "algorithm": order["algorithm"],
        "includes": order["include"],
        **times,
    }


def _as_resource(call: Call, prefix: Prefix, _row: Row, file: dict[str, Any]) -> Reply:
    related = file.pop("related")
    account = linked("accounts", call.account["id"], call.base)
    data = {
        "id": str(uuid.uuid4()),
        "type": f"{prefix}-files",
        "attributes": file,
        "relationships": {"account": account, **related},
    }
    return Reply(document={"data": data})


def _as_download(_prefix: Prefix, row: Row, file: Mapping[str, Any]) -> Reply:
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Disposition": f'attachment; filename="{row["id"]}.lic"',
    }
    return Reply(headers=headers, text=file["certificate"])
