"""Files for offline use, opened here with nothing but ``cryptography``."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

DAY = 86_400


def opened(text: str, kind: str, public_key: str, secret: str | None) -> Any:
    """The document in a file; raises when it is not genuine or the secret is wrong."""
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == (f"-----BEGIN {kind} FILE-----", f"-----END {kind} FILE-----")
    assert all(len(line) <= 60 for line in lines[1:-1])
    sealed = json.loads(base64.b64decode("".join(lines[1:-1])))
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    signed = f"{kind.lower()}/{sealed['enc']}".encode()
    key.verify(base64.b64decode(sealed["sig"]), signed)
    if sealed["alg"] == "base64+ed25519":
        return json.loads(base64.b64decode(sealed["enc"]))
    assert (sealed["alg"], secret is not None) == ("aes-256-gcm+ed25519", True)
    sealed_text, nonce, tag = (base64.b64decode(part) for part in sealed["enc"].split("."))
    cipher = AESGCM(hashlib.sha256(str(secret).encode()).digest())
    return json.loads(cipher.decrypt(nonce, sealed_text + tag, None))


@pytest.fixture
def sold(office: Any) -> Any:
    """A licence with an owner, entitled to two things, on one machine."""
    policy = office.policy(floating=True)
    owner = office.create("users", {"email": "owner@example.test"})["id"]
    licence = office.licence(policy, owner=owner, metadata={"plan": "big"})
    office.attach(f"policies/{policy}", office.entitlement("vision"))
    office.attach(f"licenses/{licence['id']}", office.entitlement("extra"))
    office.activate(licence, "print", name="desk")
    return licence


def document(office: Any, path: str, by: str, secret: str | None = None, **meta: Any) -> Any:
    kind = "MACHINE" if path.startswith("machines") else "LICENSE"
    reply = office.ask("POST", f"{path}/actions/check-out", by, meta=meta)
    assert reply.status_code == 200, reply.text
    data = reply.json()["data"]
    file = opened(data["attributes"]["certificate"], kind, office.server.public_key, secret)
    for name in ("issued", "expiry", "ttl"):
        assert file["meta"][name] == data["attributes"][name]
    return file


def types_in(file: Any) -> list[str]:
    return sorted(one["type"] for one in file["included"])


def test_machine_file_a_licence_carries_away(office: Any, sold: Any) -> None:
    key = sold["attributes"]["key"]
    meta = {"encrypt": True, "ttl": DAY, "include": ["license", "license.entitlements"]}
    file = document(office, "machines/print", f"License {key}", key + "print", **meta)
    assert file["data"]["attributes"]["fingerprint"] == "print"
    assert types_in(file) == ["entitlements", "entitlements", "licenses"]
    included = {one["type"]: one for one in file["included"]}
    assert included["licenses"]["attributes"]["key"] == key
    assert included["licenses"]["attributes"]["metadata"] == {"plan": "big"}
    codes = {one["attributes"]["code"] for one in file["included"] if one["type"] == "entitlements"}
    assert codes == {"vision", "extra"}
    issued, expiry = (datetime.fromisoformat(file["meta"][name]) for name in ("issued", "expiry"))
    assert (expiry - issued).total_seconds() == DAY


def test_files_with_everything_for_the_licensor(office: Any, sold: Any) -> None:
    names = ["product", "policy", "owner", "entitlements", "users", "group", "environment"]
    file = document(office, f"licenses/{sold['id']}", "admin", include=names)
    everything = ["entitlements", "entitlements", "policies", "products", "users"]
    assert types_in(file) == everything
    names = [f"license.{name}" for name in ("product", "policy", "user", "entitlements")]
    file = document(office, "machines/print", "admin", include=names)
    assert types_in(file) == sorted([*everything, "licenses"])


def test_wrong_secret_or_key_opens_nothing(office: Any, sold: Any) -> None:
    path = f"licenses/{sold['id']}/actions/check-out?encrypt=true&ttl=&include="
    text = office.admin.get(path).text
    key, public = sold["attributes"]["key"], office.server.public_key
    file = opened(text, "LICENSE", public, key)
    assert file["meta"]["ttl"] is file["meta"]["expiry"] is None
    assert "included" not in file
    with pytest.raises(InvalidTag):
        opened(text, "LICENSE", public, key + "x")
    with pytest.raises(InvalidSignature):
        opened(text, "LICENSE", "00" * 32, key)


@pytest.mark.parametrize("name", ["policy", "product", "owner", "users"])
def test_a_licence_may_not_include_what_it_may_not_read(office: Any, sold: Any, name: str) -> None:
    by = f"License {sold['attributes']['key']}"
    for path, include in (
        (f"licenses/{sold['id']}", name),
        ("machines/print", f"license.{name}"),
    ):
        reply = office.ask("POST", f"{path}/actions/check-out", by, meta={"include": [include]})
        assert reply.status_code == 403


@pytest.mark.parametrize(
    ("meta", "status", "code"),
    [
        ({"ttl": 3599}, 400, "CHECKOUT_TTL_INVALID"),
        ({"ttl": -1}, 400, "CHECKOUT_TTL_INVALID"),
        ({"ttl": "a day"}, 400, None),
        ({"include": ["licence"]}, 400, "CHECKOUT_INCLUDE_INVALID"),
        ({"include": "license"}, 400, None),
        ({"algorithm": "rot13+ed25519"}, 400, "CHECKOUT_ALGORITHM_INVALID"),
        ({"algorithm": "base64+rsa-sha256"}, 400, "CHECKOUT_ALGORITHM_INVALID"),
        ({"encrypt": "yes"}, 400, None),
    ],
)
def test_impossible_files(office: Any, sold: Any, meta: Any, status: int, code: Any) -> None:
    for path in (f"licenses/{sold['id']}", "machines/print"):
        reply = office.ask("POST", f"{path}/actions/check-out", "admin", meta=meta)
        assert (reply.status_code, reply.json()["errors"][0].get("code")) == (status, code)
    assert office.shown(sold)["lastCheckOut"] is None


@pytest.mark.parametrize(
    ("ttl", "expiry"),
    [
        (3600, "2022-10-16T15:52:48.000Z"),
        (DAY, "2022-10-17T14:52:48.000Z"),
        (2_629_746, "2022-11-16T14:52:48.000Z"),
        (189_341_712, "2028-10-16T14:52:48.000Z"),
    ],
)
def test_files_last_by_the_calendar(office: Any, sold: Any, ttl: int, expiry: str) -> None:
    office.server.controls.clock.freeze(datetime(2022, 10, 16, 14, 52, 48, tzinfo=UTC))
    file = document(office, "machines/print", "admin", ttl=ttl)
    assert file["meta"] == {"issued": "2022-10-16T14:52:48.000Z", "expiry": expiry, "ttl": ttl}
