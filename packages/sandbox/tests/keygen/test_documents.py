"""What requests may hold, and what they hear when they hold something else."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

NOBODY = str(uuid.uuid4())


def refused(office: Any, codes: Any, method: str, path: str, **sent: Any) -> tuple[int, Any]:
    reply = office.ask(method, path, "admin", **sent)
    return reply.status_code, codes(reply)


@pytest.mark.parametrize(
    ("scope", "code"),
    [
        ({"product": NOBODY}, "PRODUCT_SCOPE_MISMATCH"),
        ({"policy": NOBODY}, "POLICY_SCOPE_MISMATCH"),
        ({"user": NOBODY}, "USER_SCOPE_MISMATCH"),
        ({"machine": NOBODY}, "NO_MACHINE"),
        ({"fingerprint": "x"}, "NO_MACHINE"),
        ({"entitlements": []}, "ENTITLEMENTS_SCOPE_EMPTY"),
        ({"components": ["x"]}, "FINGERPRINT_SCOPE_REQUIRED"),
        ({"checksum": "x"}, "CHECKSUM_SCOPE_MISMATCH"),
        ({"version": "1.0.0"}, "VERSION_SCOPE_MISMATCH"),
        ({"user": None}, "VALID"),
    ],
)
def test_scopes(office: Any, scope: Any, code: str) -> None:
    said = office.validate(office.licence(), **scope)
    assert (said["code"], said["scope"]) == (code, scope)


def test_scopes_are_checked(office: Any, codes: Any) -> None:
    key, path = office.licence()["attributes"]["key"], "licenses/actions/validate-key"
    for scope, place in (
        ({"colour": "red"}, "/meta/scope/colour"),
        ({"fingerprint": 7}, "/meta/scope/fingerprint"),
        ({"fingerprints": ["a", 7]}, "/meta/scope/fingerprints/1"),
    ):
        meta = {"key": key, "scope": scope}
        wrong = [(None, {"pointer": place})]
        assert refused(office, codes, "POST", path, meta=meta) == (400, wrong)
    for meta in ({}, {"key": ""}, {"key": key, "nonce": "x"}, {"key": key, "colour": "red"}):
        assert refused(office, codes, "POST", path, meta=meta)[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b'{"a":NaN}',
        b"[" * 9_999,
        b'{"a":"\\ud800"}',
        b'{"a":"\\u0000"}',
    ],
)
def test_bodies_that_are_no_documents(office: Any, body: bytes) -> None:
    with office.asking(f"Bearer {office.server.admin_token}", signed=False) as client:
        reply = client.post("licenses", content=body)
    code = "ENCODING_INVALID" if b"\\" in body else "JSON_INVALID"
    assert (reply.status_code, reply.json()["errors"][0]["code"]) == (400, code)


def test_numbers_too_large_to_keep(office: Any, codes: Any) -> None:
    licence = office.licence()
    for method, path, sent, place in (
        ("POST", "actions/increment-usage", {"meta": {"increment": 10**30}}, "/meta/increment"),
        ("POST", "actions/decrement-usage", {"meta": {"decrement": -(2**31)}}, "/meta/decrement"),
        (
            "PATCH",
            "",
            {"data": {"type": "licenses", "attributes": {"maxUses": 10**30}}},
            "/data/attributes/maxUses",
        ),
    ):
        said = refused(
            office, codes, method, f"licenses/{licence['id']}/{path}".rstrip("/"), **sent
        )
        assert said == (400, [(None, {"pointer": place})])
    path = f"licenses/{licence['id']}/actions/check-out"
    assert refused(office, codes, "POST", path, meta={"ttl": 10**13})[0] == 400


def test_ids_are_read_in_either_case(office: Any) -> None:
    licence = office.licence()
    machine = office.activate(licence, "print").json()["data"]["id"]
    policy = licence["relationships"]["policy"]["data"]["id"]
    for path in (
        f"licenses/{licence['id'].upper()}/machines/{machine.upper()}",
        f"machines/{machine.upper()}",
        f"policies/{policy.upper()}",
    ):
        assert office.admin.get(path).status_code == 200, path


def test_documents_of_the_wrong_shape(office: Any, codes: Any) -> None:
    for data, place in (
        (None, "/data"),
        ([], "/data"),
        ({"type": "machines"}, "/data/type"),
        ({"type": "licenses", "attributes": []}, "/data/attributes"),
        ({"type": "licenses", "relationships": []}, "/data/relationships"),
        ({"type": "licenses"}, "/data/relationships/policy"),
    ):
        wrong = [(None, {"pointer": place})]
        assert refused(office, codes, "POST", "licenses", data=data) == (400, wrong)


def test_a_backslash_is_no_escape(office: Any) -> None:
    licence = office.licence(metadata={"path": r"C:\u0000"})
    assert office.shown(licence)["metadata"] == {"path": r"C:\u0000"}
