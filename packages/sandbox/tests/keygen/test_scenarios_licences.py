"""Conformance scenarios of licences' lives; ``scenarios.json`` says what each is about."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

ALREADY_SUSPENDED = {
    "title": "Unprocessable entity",
    "detail": "is already suspended",
    "source": {"pointer": "/data/attributes/suspended"},
}


def act(office: Any, licence: Any, action: str, by: str = "admin", **meta: Any) -> Any:
    sent = {"meta": meta} if meta else {}
    return office.ask("POST", f"licenses/{licence['id']}/actions/{action}", by, **sent)


def test_su03_suspend(office: Any) -> None:
    licence = office.licence()
    reply = act(office, licence, "suspend")
    assert reply.status_code == 200
    assert reply.json()["data"]["attributes"]["suspended"] is True
    assert office.shown(licence)["status"] == "SUSPENDED"
    assert act(office, licence, "reinstate").json()["data"]["attributes"]["suspended"] is False
    assert act(office, licence, "reinstate").json()["errors"][0]["detail"] == "is not suspended"


def test_su04_suspend_again(office: Any) -> None:
    licence = office.licence(suspended=True)
    reply = act(office, licence, "suspend")
    assert reply.status_code == 422
    assert reply.json()["errors"] == [ALREADY_SUSPENDED]


def test_su06_renewal_adds_calendar_months(office: Any) -> None:
    policy = office.policy(duration=7_889_238, renewalBasis="FROM_EXPIRY")
    licence = office.licence(policy, expiry="2021-07-19T00:00:00.000Z")
    reply = act(office, licence, "renew")
    assert reply.status_code == 200
    assert reply.json()["data"]["attributes"]["expiry"] == "2021-10-19T00:00:00.000Z"


def test_su07_nothing_to_renew_without_a_duration(office: Any) -> None:
    reply = act(office, office.licence(), "renew")
    assert reply.status_code == 422
    assert reply.json()["errors"] == [
        {
            "title": "Unprocessable entity",
            "detail": "cannot be renewed because the policy does not have a duration",
        }
    ]


def test_cr01_create(office: Any) -> None:
    user = office.create("users", {"email": "Owner@Example.test"})["id"]
    data = {
        "type": "licenses",
        "attributes": {"metadata": {"orderId": 7}},
        "relationships": office.relations(
            {"policy": ("policies", office.policy()), "owner": ("users", user)}
        ),
    }
    reply = office.ask("POST", "licenses", "admin", data=data)
    made = reply.json()["data"]
    assert reply.status_code == 201
    assert reply.headers["location"] == f"{office.server.url}{made['links']['self']}"
    assert made["attributes"]["key"]
    assert made["attributes"]["metadata"] == {"orderId": 7}
    assert made["relationships"]["owner"]["data"] == {"type": "users", "id": user}


def refused(office: Any, codes: Any, by: str | None = "admin", **related: Any) -> Any:
    data = {
        "type": "licenses",
        "id": related.pop("id", str(uuid.uuid4())),
        "relationships": office.relations(related),
    }
    reply = office.ask("POST", "licenses", by, data=data)
    return reply.status_code, codes(reply)


def test_cr02_taken_id(office: Any, codes: Any) -> None:
    policy = office.policy()
    licence = office.licence(policy)
    wrong = [("ID_CONFLICT", {"pointer": "/data/id"})]
    again = refused(office, codes, id=licence["id"], policy=("policies", policy))
    assert again == (422, wrong)


def test_cr04_unknown_policy(office: Any, codes: Any) -> None:
    wrong = [("POLICY_NOT_FOUND", {"pointer": "/data/relationships/policy"})]
    assert refused(office, codes, policy=("policies", str(uuid.uuid4()))) == (422, wrong)


def test_cr05_unknown_owner(office: Any, codes: Any) -> None:
    policy, owner = ("policies", office.policy()), ("users", str(uuid.uuid4()))
    wrong = [("OWNER_NOT_FOUND", {"pointer": "/data/relationships/owner"})]
    assert refused(office, codes, policy=policy, owner=owner) == (422, wrong)


def test_cr07_no_credentials(office: Any, codes: Any) -> None:
    policy = ("policies", office.policy())
    assert refused(office, codes, None, policy=policy) == (401, [("TOKEN_MISSING", None)])


def test_us02_increment_beyond_the_limit(office: Any) -> None:
    licence = office.licence(maxUses=99)
    assert act(office, licence, "increment-usage", increment=100).status_code == 422
    assert office.shown(licence)["uses"] == 0
    assert act(office, licence, "increment-usage", increment=99).status_code == 200
    assert office.shown(licence)["uses"] == 99


def test_us03_increment_at_the_limit(office: Any, codes: Any) -> None:
    licence = office.licence(office.policy(maxUses=5))
    act(office, licence, "increment-usage", increment=5)
    reply = act(office, licence, "increment-usage")
    place = {"pointer": "/data/attributes/uses"}
    assert (reply.status_code, codes(reply)) == (422, [("USES_LIMIT_EXCEEDED", place)])
    assert act(office, licence, "reset-usage").json()["data"]["attributes"]["uses"] == 0


def test_us05_decrement_below_nothing(office: Any, codes: Any) -> None:
    licence = office.licence()
    reply = act(office, licence, "decrement-usage")
    place = {"pointer": "/data/attributes/uses"}
    assert (reply.status_code, codes(reply)) == (422, [("USES_INVALID", place)])


def moved(office: Any, licence: Any, policy: str) -> Any:
    data = {"type": "policies", "id": policy}
    return office.ask("PUT", f"licenses/{licence['id']}/policy", "admin", data=data)


def test_po01_move_to_another_policy(office: Any, codes: Any) -> None:
    licence, new = office.licence(), office.policy()
    reply = moved(office, licence, new)
    assert reply.status_code == 200
    assert reply.json()["data"]["id"] == licence["id"]
    assert reply.json()["data"]["relationships"]["policy"]["data"]["id"] == new
    reply = moved(office, licence, office.policy(scheme="ED25519_SIGN"))
    place = {"pointer": "/data/relationships/policy"}
    assert (reply.status_code, codes(reply)) == (422, [("POLICY_NOT_COMPATIBLE", place)])


def test_po03_expiry_stays(office: Any) -> None:
    expiry = "2031-05-06T07:08:09.123Z"
    licence = office.licence(expiry=expiry)
    reply = moved(office, licence, office.policy(duration=86_400))
    assert reply.json()["data"]["attributes"]["expiry"] == expiry


def test_po04_expiry_goes(office: Any) -> None:
    licence = office.licence(expiry="2031-05-06T07:08:09.123Z")
    reply = moved(office, licence, office.policy(transferStrategy="RESET_EXPIRY"))
    assert reply.json()["data"]["attributes"]["expiry"] is None
    office.server.controls.clock.freeze(datetime(2026, 1, 31, tzinfo=UTC))
    month = office.policy(transferStrategy="RESET_EXPIRY", duration=2_629_746)
    renewed = moved(office, licence, month).json()["data"]["attributes"]
    assert renewed["expiry"] == "2026-02-28T00:00:00.000Z"


@pytest.mark.parametrize("key", ["internalId", "internal_id"])
def test_fi02_metadata_filters(office: Any, key: str) -> None:
    policy = office.policy()
    wanted = {"internalId": "1624214637", "tenantId": 2}
    licence = office.licence(policy, metadata=wanted)
    office.licence(policy, metadata={**wanted, "tenantId": 3})
    office.licence(policy, metadata={"tenantId": 2})
    query = {f"metadata[{key}]": "1624214637", "metadata[tenantId]": "2"}
    found = office.ask("GET", "licenses", "admin", params=query).json()["data"]
    assert [one["id"] for one in found] == [licence["id"]]


def test_fi03_licences_of_an_email(office: Any) -> None:
    policy = office.policy()
    one, two = (office.create("users", {"email": f"{n}@example.test"})["id"] for n in "ab")
    mine = {office.licence(policy, owner=one)["id"] for _ in range(3)}
    office.licence(policy, owner=two)
    office.licence(policy)
    for user in ("a@example.test", one):
        found = office.ask("GET", "licenses", "admin", params={"user": user}).json()["data"]
        assert {licence["id"] for licence in found} == mine
    nobody = office.ask("GET", "licenses", "admin", params={"user": "c@example.test"})
    assert nobody.json()["data"] == []
