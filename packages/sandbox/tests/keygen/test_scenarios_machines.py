"""Conformance scenarios of machines, files and signatures; ``scenarios.json`` has the list."""

from __future__ import annotations

import ast
import base64
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

HERE = Path(__file__).parent
IDS = (
    *("VK01", "VK02", "VK04", "VK05", "VK07", "VK08", "VK10", "VK11", "VK13", "VK14", "VK16"),
    *("VK17", "VK19", "VK20", "VK22", "SU01", "SU03", "SU04", "SU06", "SU07", "CR01", "CR02"),
    *("CR04", "CR05", "CR07", "MA01", "MA03", "MA04", "MA06", "MA07", "US02", "US03", "US05"),
    *("CO01", "CO03", "CO04", "CO06", "PO01", "PO03", "PO04", "FI02", "FI03", "SI01", "SI02"),
)
CHECK_OUT_DAY = datetime(2022, 10, 16, 14, 52, 48, tzinfo=UTC)


def test_every_scenario_is_described_and_has_one_test() -> None:
    described = json.loads((HERE / "scenarios.json").read_text(encoding="utf-8"))
    tested = [
        found[1].upper()
        for path in HERE.glob("test_scenarios_*.py")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and (found := re.match(r"test_([a-z]{2}\d{2})_", node.name))
    ]
    assert sorted(tested) == sorted(IDS)
    assert sorted(described) == sorted(IDS)


def test_ma01_within_the_limit(office: Any) -> None:
    licence = office.licence(office.policy(floating=True, maxMachines=5))
    for name in "ABCD":
        office.activate(licence, name)
    reply = office.activate(licence, "E")
    made = reply.json()["data"]
    assert reply.status_code == 201
    assert reply.headers["location"].endswith(made["links"]["self"])
    assert made["relationships"]["license"]["data"]["id"] == licence["id"]


def test_ma03_one_too_many(office: Any, codes: Any) -> None:
    licence = office.licence()
    office.activate(licence, "A")
    reply = office.activate(licence, "B")
    assert reply.status_code == 422
    assert codes(reply) == [("MACHINE_LIMIT_EXCEEDED", {"pointer": "/data"})]


def test_ma04_fingerprint_taken(office: Any, codes: Any) -> None:
    taken = ("FINGERPRINT_TAKEN", {"pointer": "/data/attributes/fingerprint"})
    roomy, full = office.licence(office.policy(floating=True)), office.licence()
    for licence, wrong in (
        (roomy, [taken]),
        (full, [taken, ("MACHINE_LIMIT_EXCEEDED", {"pointer": "/data"})]),
    ):
        assert office.activate(licence, "A").status_code == 201
        reply = office.activate(licence, "A")
        assert (reply.status_code, codes(reply)) == (422, wrong)


def test_ma06_machine_of_another_licence(office: Any, codes: Any) -> None:
    mine, theirs = office.licence(), office.licence()
    machine = office.activate(theirs, "A").json()["data"]["id"]
    made = office.ask("POST", f"licenses/{mine['id']}/tokens", "admin").json()["data"]
    bearer = f"Bearer {made['attributes']['token']}"
    reply = office.ask("DELETE", f"machines/{machine}", bearer)
    assert (reply.status_code, codes(reply)) == (404, [("NOT_FOUND", None)])
    assert office.ask("GET", f"machines/{machine}", "admin").status_code == 200


@pytest.mark.parametrize("named", ["id", "fingerprint"])
def test_ma07_own_machine(office: Any, named: str) -> None:
    licence = office.licence()
    bearer = f"License {licence['attributes']['key']}"
    machine = office.activate(licence, "my print", bearer).json()["data"]
    alias = machine["id"] if named == "id" else "my print"
    reply = office.ask("DELETE", f"machines/{alias}", bearer)
    assert (reply.status_code, reply.content) == (204, b"")
    # SHA-256 of nothing; the signature over it was checked when the reply came.
    assert reply.headers["digest"] == "sha-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert office.activate(licence, "another", bearer).status_code == 201


def check_out(office: Any, method: str = "POST", **sent: Any) -> httpx.Response:
    office.server.controls.clock.freeze(CHECK_OUT_DAY)
    licence = office.licence()
    path = f"licenses/{licence['id']}/actions/check-out"
    reply: httpx.Response = office.ask(method, path, "admin", **sent)
    return reply


def test_co01_defaults(office: Any) -> None:
    reply = check_out(office)
    data = reply.json()["data"]
    times: dict[str, Any] = {
        "issued": "2022-10-16T14:52:48.000Z",
        "expiry": "2022-11-16T14:52:48.000Z",
    }
    times |= {"ttl": 2_629_746}
    assert (reply.status_code, data["type"]) == (200, "license-files")
    assert data["attributes"].items() >= times.items()
    lines = data["attributes"]["certificate"].splitlines()
    sealed = json.loads(base64.b64decode("".join(lines[1:-1])))
    assert sealed["alg"] == data["attributes"]["algorithm"] == "base64+ed25519"
    document = json.loads(base64.b64decode(sealed["enc"]))
    assert document["meta"] == times
    shown = office.shown(document["data"])
    assert shown["lastCheckOut"] == times["issued"]


def test_co03_forever(office: Any) -> None:
    reply = check_out(office, meta={"ttl": None})
    attributes = reply.json()["data"]["attributes"]
    assert (reply.status_code, attributes["ttl"], attributes["expiry"]) == (200, None, None)


def test_co04_unknown_algorithm(office: Any, codes: Any) -> None:
    reply = check_out(office, meta={"algorithm": "base64+foo"})
    place = {"parameter": "algorithm"}
    assert (reply.status_code, codes(reply)) == (400, [("CHECKOUT_ALGORITHM_INVALID", place)])


def test_co06_download(office: Any) -> None:
    reply = check_out(office, "GET")
    licence = office.ask("GET", "licenses", "admin").json()["data"][0]["id"]
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/octet-stream")
    assert reply.headers["content-disposition"] == f'attachment; filename="{licence}.lic"'
    assert reply.text.startswith("-----BEGIN LICENSE FILE-----\n")
    assert reply.text.endswith("-----END LICENSE FILE-----\n")


def test_si01_what_is_signed_and_what_is_not(office: Any) -> None:
    """Every other reply in these tests is checked as it arrives; here are the odd ones."""
    headers = {"Authorization": f"Bearer {office.server.admin_token}"}
    for method, path, status in (
        ("GET", "me", 401),
        ("GET", "licenses/%20k%C3%A9y%2Fwith%3Fodd%23signs?limit=3&page=%5B1%5D", 401),
        ("POST", "licenses/actions/validate-key?a=b%20c&&d", 400),
    ):
        assert office.ask(method, path).status_code == status
    with office.asking(signed=False) as client:
        bad = client.post("licenses", content=b"{", headers=headers)
        client.post(f"{office.server.url}/_sim/rate-limit", json={"requests_per_minute": 0})
        throttled = client.get("licenses", headers=headers)
    for reply, status, code in ((bad, 400, "JSON_INVALID"), (throttled, 429, "TOO_MANY_REQUESTS")):
        assert (reply.status_code, reply.json()["errors"][0]["code"]) == (status, code)
        assert not {"keygen-signature", "digest", "date"} & set(reply.headers)


@pytest.mark.parametrize(
    "asked",
    ['algorithm="rsa-sha1"', 'algorithm="rsa-sha256"', "ed25519", 'keyid="x", algorithm="ed25519"'],
)
def test_si02_unacceptable_signatures(office: Any, asked: str) -> None:
    with office.asking(signed=False) as client:
        reply = client.get("me", headers={"Keygen-Accept-Signature": asked})
    assert reply.status_code == 400
    assert "invalid accept-signature header" in reply.json()["errors"][0]["detail"]
    assert "keygen-signature" not in reply.headers
    asked = f'keyid="{office.server.account}", algorithm="ed25519"'
    accepted = office.ask("GET", "me", "admin", headers={"Keygen-Accept-Signature": asked})
    assert accepted.status_code == 200
