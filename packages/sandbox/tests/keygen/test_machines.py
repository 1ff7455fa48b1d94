"""Machines beyond the scenarios: what they hold, who finds them, how they live and die."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def office(office: Any) -> Any:
    office.server.controls.clock.freeze(NOW)
    return office


def activated(office: Any, **attributes: Any) -> Any:
    """A machine of a new licence, made with the licence's key; and how that key is shown."""
    licence = office.licence(office.policy(floating=True))
    bearer = f"License {licence['attributes']['key']}"
    return office.activate(licence, "print", bearer, **attributes).json()["data"], bearer


def test_what_a_machine_holds(office: Any) -> None:
    sent = {"name": "desk", "platform": "linux", "hostname": "h", "ip": "10.0.0.1", "cores": 8}
    machine, _ = activated(office, **sent, metadata={"roomNumber": 7})
    assert machine["attributes"].items() >= sent.items()
    assert machine["attributes"]["metadata"] == {"roomNumber": 7}
    assert machine["attributes"]["heartbeatStatus"] == "NOT_STARTED"
    shown = office.admin.get("machines/print").json()["data"]
    assert shown == machine
    licence = office.admin.get("machines/print/license").json()["data"]
    assert licence["relationships"]["machines"]["meta"]["cores"] == 8


def test_a_licence_changes_names_and_a_seller_everything(office: Any) -> None:
    _, bearer = activated(office)
    data = {"type": "machines", "attributes": {"name": "new", "platform": None}}
    reply = office.ask("PATCH", "machines/print", bearer, data=data)
    assert reply.json()["data"]["attributes"]["name"] == "new"
    data["attributes"] = {"metadata": {"a": 1}}
    refused = office.ask("PATCH", "machines/print", bearer, data=data)
    assert (refused.status_code, refused.json()["errors"][0]["source"]) == (
        400,
        {"pointer": "/data/attributes/metadata"},
    )
    changed = office.ask("PATCH", "machines/print", "admin", data=data).json()["data"]
    assert changed["attributes"]["metadata"] == {"a": 1}


def test_a_protected_licence_may_not_rename_machines(office: Any) -> None:
    licence = office.licence(office.policy(protected=True))
    bearer = f"License {licence['attributes']['key']}"
    assert office.activate(licence, "print", bearer).status_code == 201
    data = {"type": "machines", "attributes": {"name": "new"}}
    assert office.ask("PATCH", "machines/print", bearer, data=data).status_code == 403


def test_machines_are_found(office: Any) -> None:
    user = office.create("users", {"email": "u@example.test"})["id"]
    policy = office.policy(floating=True)
    one, two = office.licence(policy, owner=user), office.licence(policy)
    for licence, name in ((one, "A"), (one, "B"), (two, "A")):
        office.activate(licence, name, metadata={"seat": name})
        office.server.controls.clock.advance(timedelta(seconds=1))

    def found(**query: str) -> list[tuple[str, str]]:
        reply = office.admin.get("machines", params={"order": "asc", **query})
        return [
            (one["attributes"]["fingerprint"], one["relationships"]["license"]["data"]["id"])
            for one in reply.json()["data"]
        ]

    first, second, third = ("A", one["id"]), ("B", one["id"]), ("A", two["id"])
    assert found() == [first, second, third]
    assert found(license=one["id"]) == [first, second]
    assert found(key=two["attributes"]["key"]) == [third]
    assert found(user="u@example.test") == [first, second]
    assert found(fingerprint="A") == [first, third]
    assert found(**{"metadata[seat]": "B"}) == [second]
    assert found(policy=policy, product=office.product()) == [first, second, third]
    assert found(policy=str(uuid.uuid4())) == []
    # One fingerprint on two licences names the older machine.
    named = office.admin.get("machines/A").json()["data"]["relationships"]["license"]["data"]["id"]
    assert named == one["id"]
    mine = office.admin.get(f"licenses/{two['id']}/machines/A").json()["data"]
    assert mine["relationships"]["license"]["data"]["id"] == two["id"]
    assert office.admin.get(f"licenses/{two['id']}/machines/B").status_code == 404


@pytest.mark.parametrize(
    ("strategy", "taken"),
    [
        ("UNIQUE_PER_LICENSE", False),
        ("UNIQUE_PER_POLICY", True),
        ("UNIQUE_PER_PRODUCT", True),
        ("UNIQUE_PER_ACCOUNT", True),
    ],
)
def test_fingerprints_are_unique_as_far_as_the_policy_says(
    office: Any, codes: Any, strategy: str, taken: bool
) -> None:
    policy = office.policy(floating=True, machineUniquenessStrategy=strategy)
    office.activate(office.licence(policy), "print")
    reply = office.activate(office.licence(policy), "print")
    wrong = [("FINGERPRINT_TAKEN", {"pointer": "/data/attributes/fingerprint"})]
    assert (reply.status_code, codes(reply) if taken else []) == (
        (422, wrong) if taken else (201, [])
    )


def test_what_an_activation_must_say(office: Any, codes: Any) -> None:
    licence = office.licence(office.policy(floating=True))
    machine = office.activate(licence, "print").json()["data"]["id"]

    def refused(fingerprint: Any, **changes: Any) -> tuple[int, Any]:
        data = {
            "type": "machines",
            "attributes": {"fingerprint": fingerprint},
            "relationships": office.relations({"license": ("licenses", licence["id"])}),
            **changes,
        }
        reply = office.ask("POST", "machines", "admin", data=data)
        return reply.status_code, codes(reply)

    fingerprint = {"pointer": "/data/attributes/fingerprint"}
    assert refused(" ") == (422, [("FINGERPRINT_MISSING", fingerprint)])
    assert refused("actions") == (422, [("FINGERPRINT_NOT_ALLOWED", fingerprint)])
    assert refused(machine) == (422, [("FINGERPRINT_CONFLICT", fingerprint)])
    assert refused(7) == (400, [(None, fingerprint)])
    assert refused("x", attributes={}) == (400, [(None, fingerprint)])
    assert refused("x", id=machine) == (422, [("ID_CONFLICT", {"pointer": "/data/id"})])
    assert refused("x", id="mine") == (400, [(None, {"pointer": "/data/id"})])
    relation = "/data/relationships/license"
    assert refused("x", relationships={}) == (400, [(None, {"pointer": relation})])
    by_key = office.relations({"license": ("licenses", licence["attributes"]["key"])})
    assert refused("x", relationships=by_key) == (400, [(None, {"pointer": f"{relation}/data/id"})])
    unknown = office.relations({"license": ("licenses", str(uuid.uuid4()))})
    wrong = [("LICENSE_NOT_FOUND", {"pointer": relation})]
    assert refused("x", relationships=unknown) == (422, wrong)
    other = f"License {office.licence()['attributes']['key']}"
    assert office.activate(licence, "x", other).status_code == 403


@pytest.mark.parametrize(
    ("strategy", "limit", "allowed"),
    [
        ("NO_OVERAGE", 4, 4),
        ("ALLOW_1_25X_OVERAGE", 4, 5),
        ("ALLOW_1_5X_OVERAGE", 4, 6),
        ("ALLOW_2X_OVERAGE", 2, 4),
    ],
)
def test_overage(office: Any, strategy: str, limit: int, allowed: int) -> None:
    policy = office.policy(floating=True, strict=True, maxMachines=limit, overageStrategy=strategy)
    licence = office.licence(policy)
    statuses = [office.activate(licence, str(n)).status_code for n in range(allowed + 1)]
    assert statuses == [201] * allowed + [422]
    over = (True, "VALID") if allowed == limit else (True, "TOO_MANY_MACHINES")
    said = office.validate(licence)
    assert (said["valid"], said["code"]) == over


def test_a_machine_that_stops_pinging_dies_and_goes(office: Any, codes: Any) -> None:
    machine, bearer = activated(office)
    clock = office.server.controls.clock
    clock.advance(timedelta(hours=1))
    assert (
        office.admin.get("machines/print").json()["data"]["attributes"]["heartbeatStatus"]
        == "NOT_STARTED"
    )
    pinged = office.ask("POST", "machines/print/actions/ping", bearer).json()["data"]["attributes"]
    assert (pinged["heartbeatStatus"], pinged["lastHeartbeat"]) == (
        "ALIVE",
        "2030-01-01T01:00:00.000Z",
    )
    assert pinged["nextHeartbeat"] == "2030-01-01T01:10:00.000Z"
    clock.advance(timedelta(seconds=601))
    licence = {"attributes": {"key": bearer.removeprefix("License ")}}
    assert office.validate(licence, fingerprint="print")["code"] == "HEARTBEAT_DEAD"
    dead = office.ask("POST", "machines/print/actions/ping", bearer)
    assert (dead.status_code, codes(dead)) == (422, [("MACHINE_HEARTBEAT_DEAD", None)])
    clock.advance(timedelta(seconds=30))
    assert office.admin.get(f"machines/{machine['id']}").status_code == 404


def test_a_dead_machine_may_be_kept_and_revived(office: Any) -> None:
    policy = office.policy(
        requireHeartbeat=True,
        heartbeatDuration=60,
        heartbeatCullStrategy="KEEP_DEAD",
        heartbeatResurrectionStrategy="1_MINUTE_REVIVE",
    )
    licence, clock = office.licence(policy), office.server.controls.clock
    office.activate(licence, "print")
    ping = "machines/print/actions/ping"
    for passed, status in ((60, "ALIVE"), (119, "RESURRECTED"), (121, None)):
        clock.advance(timedelta(seconds=passed))
        reply = office.admin.post(ping)
        assert reply.status_code == (200 if status else 422)
        if status:
            assert reply.json()["data"]["attributes"]["heartbeatStatus"] == status
    reset = office.admin.post("machines/print/actions/reset-heartbeat").json()["data"]
    assert reset["attributes"]["lastHeartbeat"] is None
    assert reset["attributes"]["heartbeatStatus"] == "DEAD"


@pytest.mark.parametrize(
    ("strategy", "fewest"),
    [("MATCH_ANY", 1), ("MATCH_TWO", 2), ("MATCH_MOST", 2), ("MATCH_ALL", 4)],
)
def test_how_many_fingerprints_must_match(office: Any, strategy: str, fewest: int) -> None:
    licence = office.licence(office.policy(floating=True, machineMatchingStrategy=strategy))
    for count in range(1, 5):
        office.activate(licence, str(count))
        said = office.validate(licence, fingerprints=["1", "2", "3", "4"])
        assert said["valid"] == (count >= fewest), count
    assert office.validate(licence, fingerprints=["1"])["valid"]
