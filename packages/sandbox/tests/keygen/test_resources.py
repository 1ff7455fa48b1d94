"""What is beyond the scenarios: products, policies, users and what requests may hold."""

from __future__ import annotations

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NOW = datetime(2030, 1, 1, tzinfo=UTC)
NOBODY = str(uuid.uuid4())


@pytest.fixture
def office(office: Any) -> Any:
    office.server.controls.clock.freeze(NOW)
    return office


def refused(office: Any, codes: Any, method: str, path: str, **sent: Any) -> tuple[int, Any]:
    reply = office.ask(method, path, "admin", **sent)
    return reply.status_code, codes(reply)


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("products", {"name": "Thing", "code": "thing", "platforms": ["linux"]}),
        ("entitlements", {"name": "Vision", "code": "vision"}),
        ("users", {"email": "a@example.test", "firstName": "A", "lastName": "B"}),
    ],
)
def test_made_shown_changed_listed_removed(office: Any, kind: str, sent: Any) -> None:
    made = office.create(kind, {**sent, "metadata": {"someThing": [1]}})
    path = f"{kind}/{made['id']}"
    assert made["attributes"].items() >= sent.items()
    assert office.admin.get(path).json()["data"] == made
    assert office.admin.get(kind).json()["data"] == [made]
    office.server.controls.clock.advance(timedelta(seconds=1))
    changed = office.change(path, kind, metadata={"b": None})
    assert changed["attributes"]["metadata"] == {"b": None}
    assert changed["attributes"]["updated"] == "2030-01-01T00:00:01.000Z"
    assert changed["attributes"]["created"] == made["attributes"]["created"]
    assert office.admin.delete(path).status_code == 204
    assert office.admin.get(path).status_code == 404
    assert office.admin.get(kind).json()["data"] == []


def test_what_is_unique(office: Any, codes: Any) -> None:
    for kind, sent, code in (
        ("entitlements", {"name": "x", "code": "Vision"}, "CODE_TAKEN"),
        ("products", {"name": "x", "code": "thing"}, "CODE_TAKEN"),
        ("users", {"email": "A@example.test"}, "EMAIL_TAKEN"),
    ):
        office.create(kind, sent)
        again = {**sent, "code": "vision"} if kind == "entitlements" else sent
        data = {"type": kind, "attributes": again}
        status, said = refused(office, codes, "POST", kind, data=data)
        assert (status, said[0][0]) == (422, code)
    data = {"type": "users", "attributes": {"email": "no at sign"}}
    assert refused(office, codes, "POST", "users", data=data)[1][0][0] == "EMAIL_INVALID"


def test_a_policys_defaults_are_keygens(office: Any) -> None:
    related = {"product": ("products", office.product())}
    made = office.create("policies", {"name": "Plain"}, related)["attributes"]
    wanted = {
        "authenticationStrategy": "TOKEN",
        "expirationStrategy": "RESTRICT_ACCESS",
        "expirationBasis": "FROM_CREATION",
        "renewalBasis": "FROM_EXPIRY",
        "transferStrategy": "KEEP_EXPIRY",
        "overageStrategy": "NO_OVERAGE",
        "machineUniquenessStrategy": "UNIQUE_PER_LICENSE",
        "heartbeatCullStrategy": "DEACTIVATE_DEAD",
        "heartbeatBasis": "FROM_FIRST_PING",
        "maxMachines": 1,
        "maxUses": None,
        "duration": None,
        "strict": False,
        "floating": False,
    }
    assert {name: made[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("sent", "status", "code", "name"),
    [
        ({"expirationStrategy": "NEVER"}, 422, "EXPIRATION_STRATEGY_NOT_ALLOWED", None),
        ({"duration": 3600}, 422, "DURATION_INVALID", None),
        ({"maxMachines": 2}, 422, "MAX_MACHINES_INVALID", None),
        ({"floating": True, "maxMachines": 0}, 422, "MAX_MACHINES_INVALID", "maxMachines"),
        ({"maxUses": -1}, 422, "MAX_USES_INVALID", None),
        ({"scheme": "RSA_2048_PKCS1_SIGN"}, 422, "SCHEME_NOT_ALLOWED", None),
        ({"name": ""}, 422, "NAME_MISSING", None),
        ({"overageStrategy": "ALLOW_1_5X_OVERAGE"}, 422, "OVERAGE_STRATEGY_NOT_ALLOWED", None),
        ({"maxCores": 4}, 400, None, None),
        ({"usePool": True}, 400, None, None),
        ({"strict": "yes"}, 400, None, None),
        ({"colour": "red"}, 400, None, None),
    ],
)
def test_impossible_policies(
    office: Any, codes: Any, sent: Any, status: int, code: Any, name: str | None
) -> None:
    related = office.relations({"product": ("products", office.product())})
    data = {"type": "policies", "attributes": {"name": "x", **sent}, "relationships": related}
    place = {"pointer": f"/data/attributes/{name or next(iter(sent))}"}
    assert refused(office, codes, "POST", "policies", data=data) == (status, [(code, place)])


def test_policies_change_and_go_with_their_licences(office: Any, codes: Any) -> None:
    policy = office.policy(maxUses=1)
    licence = office.licence(policy)
    office.change(f"policies/{policy}", "policies", maxUses=2, name="New", metadata={"aB": 1})
    assert office.shown(licence)["maxUses"] == 2
    listed = office.admin.get("policies", params={"product": office.product()}).json()["data"]
    assert [one["attributes"]["name"] for one in listed] == ["New"]
    assert office.admin.get("policies", params={"product": NOBODY}).json()["data"] == []
    assert office.admin.delete(f"policies/{policy}").status_code == 204
    assert refused(office, codes, "GET", f"licenses/{licence['id']}") == (
        404,
        [("NOT_FOUND", None)],
    )


def test_entitlements_come_through_the_policy_or_alone(office: Any, codes: Any) -> None:
    policy = office.policy()
    licence, lone = office.licence(policy), office.entitlement("lone")
    shared = office.entitlement("shared")
    path = f"licenses/{licence['id']}/entitlements"

    def data(*ids: str) -> list[dict[str, str]]:
        return [{"type": "entitlements", "id": one} for one in ids]

    office.attach(f"policies/{policy}", shared)
    office.attach(f"licenses/{licence['id']}", lone)
    mine = office.ask("GET", path, f"License {licence['attributes']['key']}").json()["data"]
    assert {one["id"] for one in mine} == {lone, shared}
    assert office.admin.get(f"{path}/{lone}").json()["data"]["attributes"]["code"] == "lone"
    assert office.admin.get(f"{path}/{NOBODY}").status_code == 404
    pointer = {"pointer": "/data/relationships/entitlement"}
    for ids, code in (
        ((lone,), "ENTITLEMENT_TAKEN"),
        ((shared,), "ENTITLEMENT_CONFLICT"),
        ((NOBODY,), "ENTITLEMENT_NOT_FOUND"),
    ):
        assert refused(office, codes, "POST", path, data=data(*ids)) == (422, [(code, pointer)])
    assert refused(office, codes, "POST", path, data=[])[0] == 400
    assert refused(office, codes, "POST", path, data=[{"type": "users", "id": lone}])[0] == 400
    assert refused(office, codes, "DELETE", path, data=data(lone, shared))[0] == 403
    assert refused(office, codes, "DELETE", path, data=data(lone, NOBODY))[0] == 422
    assert len(office.admin.get(path).json()["data"]) == 2, "nothing of it was done"
    assert office.ask("DELETE", path, "admin", data=data(lone)).status_code == 204
    detached = office.ask("DELETE", f"policies/{policy}/entitlements", "admin", data=data(shared))
    assert detached.status_code == 204
    assert office.admin.get(path).json()["data"] == []


def test_metadata_is_replaced_whole(office: Any) -> None:
    licence = office.licence(metadata={"orderId": 1, "deep": {"innerKey": ["x"]}})
    assert office.shown(licence)["metadata"] == {"orderId": 1, "deep": {"innerKey": ["x"]}}
    office.change(f"licenses/{licence['id']}", "licenses", name="n", metadata={"tenantId": 2})
    shown = office.shown(licence)
    assert (shown["metadata"], shown["name"]) == ({"tenantId": 2}, "n")


def test_metadata_is_not_too_deep(office: Any, codes: Any) -> None:
    policy = office.relations({"policy": ("policies", office.policy())})
    metadata = {"object": {"key": {"k": "v"}}, "array": [[0], [{"foo": 1}, 2, [3]]]}
    data = {"type": "licenses", "attributes": {"metadata": metadata}, "relationships": policy}
    place = {"pointer": "/data/attributes/metadata/array/1/0"}
    assert refused(office, codes, "POST", "licenses", data=data) == (400, [(None, place)])
    data["attributes"] = {"metadata": None}
    made = office.ask("POST", "licenses", "admin", data=data).json()["data"]
    assert made["attributes"]["metadata"] == {}


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({"key": "short"}, 422, "KEY_TOO_SHORT"),
        ({"key": "actions"}, 422, "KEY_NOT_ALLOWED"),
        ({"key": "taken-key"}, 422, "KEY_TAKEN"),
        ({"maxMachines": 2}, 422, "MAX_MACHINES_INVALID"),
        ({"maxUses": -1}, 422, "MAX_USES_INVALID"),
        ({"expiry": "tomorrow"}, 400, None),
        ({"key": None}, 400, None),
        ({"maxUsers": 3}, 400, None),
        ({"uses": 3}, 400, None),
    ],
)
def test_impossible_licences(office: Any, codes: Any, sent: Any, status: int, code: Any) -> None:
    policy = office.policy()
    office.licence(policy, key="taken-key")
    related = office.relations({"policy": ("policies", policy)})
    data = {"type": "licenses", "attributes": sent, "relationships": related}
    place = {"pointer": f"/data/attributes/{next(iter(sent))}"}
    assert refused(office, codes, "POST", "licenses", data=data) == (status, [(code, place)])


def test_a_removed_licence_frees_its_id(office: Any) -> None:
    policy, identifier = office.policy(), str(uuid.uuid4())
    related = office.relations({"policy": ("policies", policy)})
    data = {"type": "licenses", "id": identifier, "relationships": related}
    for _ in range(2):
        made = office.ask("POST", "licenses", "admin", data=data)
        assert (made.status_code, made.json()["data"]["id"]) == (201, identifier)
        path = f"licenses/{identifier}/actions/revoke"
        assert office.admin.delete(path).status_code == 204


def test_licences_are_found_by_state(office: Any) -> None:
    policy = office.policy()
    made = {
        "ACTIVE": office.licence(policy),
        "SUSPENDED": office.licence(policy, suspended=True),
        "EXPIRED": office.licence(policy, expiry="2029-12-31T00:00:00Z"),
        "EXPIRING": office.licence(policy, expiry="2030-01-02T00:00:00Z"),
    }
    for status, licence in made.items():
        assert office.shown(licence)["status"] == status
        found = office.admin.get("licenses", params={"status": status}).json()["data"]
        assert [one["id"] for one in found] == [licence["id"]]
    found = office.admin.get("licenses", params={"suspended": "true"}).json()["data"]
    assert [one["id"] for one in found] == [made["SUSPENDED"]["id"]]
    office.server.controls.clock.advance(timedelta(days=91))
    assert office.shown(made["ACTIVE"])["status"] == "INACTIVE"


def test_time_begins_when_the_policy_says(office: Any) -> None:
    day, expiry = 86_400, "2030-01-02T00:00:00.000Z"

    def licence(basis: str) -> Any:
        return office.licence(office.policy(duration=day, expirationBasis=basis))

    assert licence("FROM_CREATION")["attributes"]["expiry"] == expiry
    validated, used, activated = (
        licence(f"FROM_FIRST_{what}") for what in ("VALIDATION", "USE", "ACTIVATION")
    )
    assert {one["attributes"]["expiry"] for one in (validated, used, activated)} == {None}
    office.validate(validated)
    office.admin.post(f"licenses/{used['id']}/actions/increment-usage")
    office.activate(activated, "print")
    assert {office.shown(one)["expiry"] for one in (validated, used, activated)} == {expiry}


@pytest.mark.parametrize(
    ("basis", "expiry", "renewed"),
    [
        ("FROM_EXPIRY", "2029-12-01", "2029-12-31"),
        ("FROM_NOW", "2030-02-01", "2030-01-31"),
        ("FROM_NOW_IF_EXPIRED", "2029-12-01", "2030-01-31"),
        ("FROM_NOW_IF_EXPIRED", "2030-02-01", "2030-03-03"),
    ],
)
def test_renewal_starts_where_the_policy_says(
    office: Any, basis: str, expiry: str, renewed: str
) -> None:
    policy = office.policy(duration=30 * 86_400, renewalBasis=basis)
    licence = office.licence(policy, expiry=f"{expiry}T00:00:00Z")
    office.admin.post(f"licenses/{licence['id']}/actions/renew")
    assert office.shown(licence)["expiry"] == f"{renewed}T00:00:00.000Z"


def test_check_ins(office: Any) -> None:
    policy = office.policy(requireCheckIn=True, checkInInterval="week", checkInIntervalCount=2)
    licence, clock = office.licence(policy), office.server.controls.clock
    assert licence["attributes"]["nextCheckIn"] == "2030-01-15T00:00:00.000Z"
    clock.advance(timedelta(days=15))
    assert office.validate(licence)["code"] == "OVERDUE"
    bearer = f"License {licence['attributes']['key']}"
    assert office.ask("POST", f"licenses/{licence['id']}/actions/check-in", bearer).is_success
    assert office.validate(licence)["valid"]
    plain = office.licence()
    assert office.admin.post(f"licenses/{plain['id']}/actions/check-in").status_code == 422


def test_owners_change(office: Any, codes: Any) -> None:
    licence, user = office.licence(), office.create("users", {"email": "u@example.test"})["id"]
    path = f"licenses/{licence['id']}/owner"
    assert office.admin.get(path).json()["data"] is None
    data = {"type": "users", "id": user}
    assert office.ask("PUT", path, "admin", data=data).status_code == 200
    assert office.admin.get(path).json()["data"]["attributes"]["email"] == "u@example.test"
    for scope, valid in (("u@example.test", True), (user, True), ("x@example.test", False)):
        assert office.validate(licence, user=scope)["valid"] is valid
    data["id"] = NOBODY
    assert refused(office, codes, "PUT", path, data=data)[1][0][0] == "OWNER_NOT_FOUND"
    assert office.admin.put(path, json={"data": None}).status_code == 200
    assert office.admin.get(path).json()["data"] is None


def test_signed_keys_hold_what_they_say(office: Any) -> None:
    policy = office.policy(scheme="ED25519_SIGN")
    for licence, said in (
        (office.licence(policy, key="seat 12"), "seat 12"),
        (office.licence(policy), None),
    ):
        signed, _, signature = licence["attributes"]["key"].partition(".")
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(office.server.public_key))
        key.verify(base64.urlsafe_b64decode(signature), signed.encode())
        text = base64.urlsafe_b64decode(signed.removeprefix("key/")).decode()
        assert text == said or json.loads(text)["license"]["id"] == licence["id"]
