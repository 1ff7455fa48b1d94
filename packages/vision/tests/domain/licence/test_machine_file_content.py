"""What stands in a genuine machine file: read, or refused with a reason, whatever it is."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_sandbox.keygen.signing import SigningKey
from shimmy_vision.domain.licence.certificate import (
    LicenceProof,
    NoProof,
    open_machine_file,
    read_grace,
)
from shimmy_vision.domain.licence.pinned import PINNED

KEY, FINGERPRINT = "0F4B2C-9D11E7-A3C5F8-77B0D2-C41E96-V3", "5a" * 32
ISSUED = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR, YEAR = timedelta(hours=1), timedelta(days=366)

Document = Callable[[], dict[str, Any]]
WriteFile = Callable[..., str]
Path = tuple[str | int, ...]

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(["", "licenses", "machines", "2026-11-24", "0001-01-01T00:00:00+23:59"])
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "type", "data", "attributes", "code"]) | st.text(max_size=3),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def opened(text: str) -> LicenceProof | NoProof:
    return open_machine_file(
        text, licence_key=KEY, fingerprint=FINGERPRINT, public_key=PINNED.public_key
    )


def paths(value: Any, here: Path = ()) -> list[Path]:
    """The way to every value in a document, the document itself among them."""
    inner: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    if isinstance(value, list):
        inner = list(enumerate(value))
    return [here, *(path for name, one in inner for path in paths(one, (*here, name)))]


def with_value(document: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    holder = document
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return document


def without(document: Any, path: Path) -> Any:
    holder = document
    for name in path[:-1]:
        holder = holder[name]
    del holder[path[-1]]
    return document


LICENCE = ("included", 0)
FATAL: list[Path] = [
    ("data",),
    ("data", "id"),
    ("data", "type"),
    ("data", "attributes"),
    ("data", "attributes", "fingerprint"),
    ("data", "relationships"),
    ("data", "relationships", "license"),
    ("data", "relationships", "license", "data"),
    ("data", "relationships", "license", "data", "id"),
    ("included",),
    LICENCE,
    (*LICENCE, "id"),
    (*LICENCE, "type"),
    (*LICENCE, "attributes"),
    (*LICENCE, "attributes", "key"),
    ("included", 1, "attributes"),
    ("included", 1, "attributes", "code"),
    ("meta",),
    ("meta", "issued"),
    ("meta", "expiry"),
]


@pytest.mark.parametrize("path", FATAL, ids=lambda path: ".".join(map(str, path)))
def test_a_file_without_something_that_matters_is_no_proof(
    path: Path, document: Document, write_file: WriteFile
) -> None:
    assert isinstance(opened(write_file(without(document(), path))), NoProof)


@pytest.mark.parametrize("path", FATAL, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("value", [None, [], {}, 7, True, "", ["a"], {"a": "b"}], ids=str)
def test_a_file_with_something_else_in_its_place_is_no_proof(
    path: Path, value: object, document: Document, write_file: WriteFile
) -> None:
    found = opened(write_file(with_value(document(), path, value)))
    if path == ("included", 1, "attributes", "code") and isinstance(found, LicenceProof):
        assert "vision" not in found.entitlements
        return
    assert isinstance(found, NoProof)


@pytest.mark.parametrize("payload", [None, [], "text", 7, True, {}, [[]], "[" * 50], ids=str)
def test_a_signed_payload_of_another_shape_is_no_proof(
    payload: object, write_file: WriteFile
) -> None:
    assert isinstance(opened(write_file(payload)), NoProof)


def test_a_signed_payload_that_is_no_document_is_no_proof(document: Document) -> None:
    deep = b'{"data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    for payload in (deep, b"\xff\xfe\xfd", b"", b"{", b"1" * 5000):
        assert isinstance(opened(sealed(payload)), NoProof)
    assert isinstance(opened(sealed(json.dumps(document()).encode())), LicenceProof)


def sealed(payload: bytes) -> str:
    """Any bytes, encrypted and signed as a machine file's payload is."""
    cipher = AESGCM(hashlib.sha256((KEY + FINGERPRINT).encode()).digest())
    data = cipher.encrypt(bytes(12), payload, None)
    parts = (data[:-16], bytes(12), data[-16:])
    enc = ".".join(base64.b64encode(part).decode() for part in parts)
    sig = base64.b64encode(SigningKey().sign(f"machine/{enc}".encode())).decode()
    whole = json.dumps({"enc": enc, "sig": sig, "alg": "aes-256-gcm+ed25519"})
    text = base64.b64encode(whole.encode()).decode()
    lines = [text[at : at + 60] for at in range(0, len(text), 60)]
    return "\n".join(("-----BEGIN MACHINE FILE-----", *lines, "-----END MACHINE FILE-----", ""))


@settings(max_examples=1000)
@given(data=st.data())
def test_no_change_of_a_signed_payload_raises(
    data: st.DataObject, document: Document, write_file: WriteFile
) -> None:
    """Keygen may change its documents; what this program cannot read is refused."""
    payload: Any = document()
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(paths(payload)))
        remove: bool = data.draw(st.booleans())
        if path and remove:
            payload = without(payload, path)
        else:
            payload = with_value(payload, path, data.draw(JSON))
    found = opened(write_file(payload))
    assert isinstance(found, LicenceProof | NoProof)
    if isinstance(found, LicenceProof):
        assert (found.fingerprint, found.facts.key) == (FINGERPRINT, KEY)
        assert found.issued.tzinfo is UTC
        assert found.ends.tzinfo is UTC
        assert HOUR <= found.grace <= YEAR


def test_a_file_without_an_end_is_no_proof(document: Document, write_file: WriteFile) -> None:
    """Keygen issues one for a ttl of null: it would outlive every refund."""
    payload = with_value(document(), ("meta", "expiry"), None)
    payload["meta"]["ttl"] = None
    assert opened(write_file(payload)) == NoProof("its content is malformed: it has no end")


@pytest.mark.parametrize("name", ["issued", "expiry"])
@pytest.mark.parametrize(
    "time", ["", "soon", 7, True, "2026-13-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59-01"]
)
def test_a_time_that_is_none_is_no_proof(
    name: str, time: object, document: Document, write_file: WriteFile
) -> None:
    assert isinstance(opened(write_file(with_value(document(), ("meta", name), time))), NoProof)


def test_a_file_that_names_another_machine_or_key_inside_is_no_proof(
    document: Document, write_file: WriteFile
) -> None:
    """Encrypted for this one, as only the signer can: the server mixed two up."""
    for path, value in (
        (("data", "attributes", "fingerprint"), "5b" * 32),
        ((*LICENCE, "attributes", "key"), KEY + "x"),
    ):
        found = opened(write_file(with_value(document(), path, value)))
        assert found == NoProof("it was issued for another licence or machine")


def test_the_machines_own_licence_counts_and_no_other(
    document: Document, write_file: WriteFile
) -> None:
    payload = document()
    other = {**document()["included"][0], "id": "c0a4d1a7-ffff-4a90-8e0c-5d9f3c1f2a10"}
    other["attributes"] = {**other["attributes"], "maxUses": None, "metadata": {"plan": "other"}}
    payload["included"] = [other, *payload["included"]]
    found = opened(write_file(payload))
    assert isinstance(found, LicenceProof)
    assert (found.facts.plan, found.facts.max_uses) == ("developer", 2500)
    payload["included"].append(payload["included"][1])
    assert isinstance(opened(write_file(payload)), NoProof)  # The same licence twice.


@pytest.mark.parametrize(
    ("value", "suspended"),
    [(False, False), (True, True), (None, True), (0, True), ("false", True)],
)
def test_only_a_plain_false_is_not_suspended(
    value: object, suspended: bool, document: Document, write_file: WriteFile
) -> None:
    found = opened(write_file(with_value(document(), (*LICENCE, "attributes", "suspended"), value)))
    assert isinstance(found, LicenceProof)
    assert found.facts.suspended is suspended


@pytest.mark.parametrize(
    ("expiry", "ends_on_expiry"),
    [
        (None, True),
        (ISSUED + timedelta(milliseconds=1), True),
        (ISSUED, False),
        (ISSUED - timedelta(days=1), False),
    ],
)
def test_a_file_issued_after_the_expiry_is_of_a_policy_that_lets_work_on(
    expiry: datetime | None, ends_on_expiry: bool, document: Document, write_file: WriteFile
) -> None:
    written = None if expiry is None else expiry.isoformat()
    found = opened(write_file(with_value(document(), (*LICENCE, "attributes", "expiry"), written)))
    assert isinstance(found, LicenceProof)
    assert found.facts.expiry == expiry
    assert found.ends_on_expiry is ends_on_expiry


DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("hours", "grace"),
    [
        (36, timedelta(hours=36)),
        (1.5, timedelta(minutes=90)),
        (1, HOUR),
        (0.99, HOUR),
        (0, HOUR),
        (-5, HOUR),
        (-(10**400), HOUR),
        (float("-inf"), HOUR),
        (8784, YEAR),
        (8784.001, YEAR),
        (10**400, YEAR),
        (1e308, YEAR),
        (float("inf"), YEAR),
        (float("nan"), DAY),
        (True, DAY),
        (False, DAY),
        (None, DAY),
        ("36", DAY),
        ("", DAY),
        ([36], DAY),
        ({"hours": 36}, DAY),
    ],
    ids=str,
)
def test_grace_is_between_an_hour_and_a_year_and_a_day_where_none_is_set(
    hours: object, grace: timedelta, document: Document, write_file: WriteFile
) -> None:
    assert read_grace({"offlineGraceHours": hours}) == grace
    payload = document()
    payload["included"][0]["attributes"]["metadata"]["offlineGraceHours"] = hours
    found = opened(write_file(payload))
    assert isinstance(found, LicenceProof)
    assert found.grace == grace


def test_grace_without_metadata_is_a_day(document: Document, write_file: WriteFile) -> None:
    assert read_grace({}) == DAY
    nothing: tuple[object, ...] = ({}, None)
    for metadata in nothing:
        path = (*LICENCE, "attributes", "metadata")
        found = opened(write_file(with_value(document(), path, metadata)))
        assert isinstance(found, LicenceProof)
        assert found.grace == DAY


@given(st.integers() | st.floats())
def test_no_number_of_hours_is_out_of_bounds(hours: float) -> None:
    assert HOUR <= read_grace({"offlineGraceHours": hours}) <= YEAR
