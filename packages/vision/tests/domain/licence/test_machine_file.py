"""Machine files: every byte counts, and nobody else's file opens."""

from __future__ import annotations

import base64
import hashlib
import json
import string
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import keygen
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from shimmy_sandbox.keygen.signing import SigningKey
from shimmy_vision.domain.licence import certificate
from shimmy_vision.domain.licence.certificate import LicenceProof, NoProof, open_machine_file
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.domain.licence.proof import read_proof

KEY, FINGERPRINT = "0F4B2C-9D11E7-A3C5F8-77B0D2-C41E96-V3", "5a" * 32
OTHER_KEY = SigningKey(bytes(range(32)))
BEGIN, END = "-----BEGIN MACHINE FILE-----", "-----END MACHINE FILE-----"
ISSUED = datetime(2026, 11, 24, 12, tzinfo=UTC)

Document = Callable[[], dict[str, Any]]
WriteFile = Callable[..., str]


def opened(
    text: str,
    *,
    key: str = KEY,
    fingerprint: str = FINGERPRINT,
    public_key: str = PINNED.public_key,
) -> LicenceProof | NoProof:
    return open_machine_file(text, licence_key=key, fingerprint=fingerprint, public_key=public_key)


def proved(text: str) -> LicenceProof:
    proof = opened(text)
    assert isinstance(proof, LicenceProof), proof
    return proof


def problem(text: str, **others: str) -> str:
    found = opened(text, **others)
    assert isinstance(found, NoProof)
    return found.problem


def armoured(sealed: bytes) -> str:
    """Any bytes as the body of a machine file."""
    text = base64.b64encode(sealed).decode()
    lines = [text[at : at + 60] for at in range(0, len(text), 60)]
    return "\n".join((BEGIN, *lines, END, ""))


def unarmoured(text: str) -> bytes:
    return base64.b64decode("".join(text.splitlines()[1:-1]))


@pytest.fixture(scope="module")
def short_file(document: Document, write_file: WriteFile) -> str:
    """A file with little in it, so that every byte of it can be tried."""
    payload = document()
    payload["included"] = payload["included"][:1]
    for one in (payload["data"], payload["included"][0]):
        one["id"] = one["id"][:8]
    payload["data"]["relationships"]["license"]["data"]["id"] = payload["included"][0]["id"]
    payload["included"][0]["attributes"]["metadata"] = {}
    text = write_file(payload)
    assert isinstance(opened(text), LicenceProof)
    return text


def test_a_file_of_the_sandbox_opens(document: Document, write_file: WriteFile) -> None:
    proof = proved(write_file(document()))
    assert (proof.machine, proof.fingerprint) == (document()["data"]["id"], FINGERPRINT)
    assert proof.product == PINNED.product
    assert proof.entitlements == frozenset({"vision", "batch"})
    assert (proof.issued, proof.ends) == (ISSUED, ISSUED + timedelta(hours=36))
    assert proof.grace == timedelta(hours=36)
    assert proof.ends_on_expiry
    facts = proof.facts
    assert (facts.plan, facts.uses, facts.max_uses, facts.max_machines) == (
        ("developer", 41, 2500, 2)
    )
    assert facts.expiry == datetime(2026, 12, 20, 8, tzinfo=UTC)
    assert facts.period_start == datetime(2026, 11, 17, 8, tzinfo=UTC)
    assert facts.period_end == datetime(2026, 12, 17, 8, tzinfo=UTC)
    assert not facts.suspended


def test_two_strangers_read_the_same_file(
    document: Document, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keygen's rules written down once more, and keygen-sdk, which knows nothing of ours."""
    monkeypatch.setattr(keygen, "max_clock_drift", None)
    payload = document()
    now = datetime.now(UTC)
    payload["meta"]["issued"] = now.isoformat()
    payload["meta"]["expiry"] = (now + timedelta(hours=36)).isoformat()
    text = write_file(payload)

    sealed = json.loads(unarmoured(text))
    signer = Ed25519PublicKey.from_public_bytes(bytes.fromhex(PINNED.public_key))
    signer.verify(base64.b64decode(sealed["sig"]), f"machine/{sealed['enc']}".encode())
    parts = [base64.b64decode(part) for part in sealed["enc"].split(".")]
    cipher = AESGCM(hashlib.sha256((KEY + FINGERPRINT).encode()).digest())
    assert json.loads(cipher.decrypt(parts[1], parts[0] + parts[2], None)) == payload

    theirs = keygen.MachineFile(certificate=text)
    theirs.verify(PINNED.public_key)
    dataset = theirs.decrypt(KEY + FINGERPRINT)
    ours = proved(text)
    assert dataset.machine.fingerprint == ours.fingerprint
    assert dataset.license.key == ours.facts.key
    assert (dataset.issued, dataset.expiry) == (ours.issued, ours.ends)
    assert {one.code for one in dataset.entitlements} == ours.entitlements


def test_the_key_and_the_fingerprint_are_in_no_repr(
    document: Document, write_file: WriteFile
) -> None:
    shown = repr(proved(write_file(document())))
    assert KEY not in shown
    assert FINGERPRINT not in shown


def test_one_final_newline_may_be_missing_and_none_may_be_added(short_file: str) -> None:
    assert short_file.endswith(END + "\n")
    assert opened(short_file.removesuffix("\n")) == opened(short_file)
    for text in (short_file + "\n", "\n" + short_file, short_file.replace("\n", "\r\n")):
        assert "begin or end line" in problem(text)


def test_every_bit_of_a_file_counts(short_file: str) -> None:
    for place, one in enumerate(short_file):
        for bit in range(8):
            text = short_file[:place] + chr(ord(one) ^ 1 << bit) + short_file[place + 1 :]
            assert isinstance(opened(text), NoProof), (place, bit)


def test_no_byte_of_a_file_may_become_another(short_file: str) -> None:
    """A letter of base64 may stand for a blank in the JSON, which a tab would do for as well."""
    letters = string.ascii_letters + string.digits + "+/=-_.\n \t\r\0é"
    for place, one in enumerate(short_file):
        for new in letters:
            if new != one:
                text = short_file[:place] + new + short_file[place + 1 :]
                assert isinstance(opened(text), NoProof), (place, new)


def test_no_byte_of_a_file_may_be_missing_doubled_or_added(short_file: str) -> None:
    for place, one in enumerate(short_file):
        if place < len(short_file) - 1:
            assert isinstance(opened(short_file[:place] + short_file[place + 1 :]), NoProof), place
        for new in (one, "\n", " ", "=", "A", "\ud800"):
            text = short_file[:place] + new + short_file[place:]
            assert isinstance(opened(text), NoProof), (place, new)


def respellings(text: str) -> Iterator[bytes]:
    """Other JSON for the very same ``{enc, sig, alg}``."""
    sealed = json.loads(unarmoured(text))
    enc, sig, alg = (json.dumps(sealed[name]) for name in ("enc", "sig", "alg"))
    yield json.dumps(sealed, indent=1).encode()
    yield f'{{"enc":\t{enc}, "sig": {sig}, "alg": {alg}}}'.encode()
    yield f'{{"enc": {enc}, "sig":\n{sig}, "alg": {alg}}}'.encode()
    yield f'{{"enc": {enc}, "sig": {sig}, "alg": {alg}}} '.encode()
    yield f' {{"enc": {enc}, "sig": {sig}, "alg": {alg}}}'.encode()
    yield f'{{"enc":{enc}, "sig":{sig}, "alg":{alg}}}'.encode()
    yield f'{{"\\u0065nc": {enc}, "sig": {sig}, "alg": {alg}}}'.encode()
    yield f'{{"enc": {enc}, "sig": {sig}, "alg": "\\u0061{sealed["alg"][1:]}"}}'.encode()
    yield f'{{"enc": "\\u{ord(enc[1]):04x}{enc[2:]}, "sig": {sig}, "alg": {alg}}}'.encode()
    yield f'{{"enc": {enc}, "sig": {sig}, "alg": {alg}, "alg": {alg}}}'.encode()
    yield f'{{"enc": "x", "enc": {enc}, "sig": {sig}, "alg": {alg}}}'.encode()
    yield json.dumps(sealed).encode("utf-16")
    yield b"\xef\xbb\xbf" + json.dumps(sealed).encode()


def test_the_same_content_spelt_otherwise_is_refused(short_file: str) -> None:
    for spelling in respellings(short_file):
        assert "no machine file" in problem(armoured(spelling)), spelling


def test_keygens_own_spelling_opens_as_the_sandboxs_does(short_file: str) -> None:
    """Keygen writes no blanks between the three."""
    sealed = json.loads(unarmoured(short_file))
    assert list(sealed) == ["enc", "sig", "alg"]
    compact = armoured(json.dumps(sealed, separators=(",", ":")).encode())
    assert compact != short_file
    assert opened(compact) == opened(short_file)


@pytest.mark.parametrize(
    "sealed",
    [
        b"",
        b"x",
        b"null",
        b"[]",
        b'"text"',
        b"17",
        b"{}",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b'{"enc": "a", "sig": "b"}',
        b'{"enc": "a", "sig": "b", "alg": "aes-256-gcm+ed25519", "kid": "c"}',
        b'{"enc": "a", "sig": "*", "alg": "aes-256-gcm+ed25519"}',
        b'{"enc": "a", "sig": "YQ==", "alg": "aes-256-gcm+ed25519"}',
        b'{"enc": "a", "sig": "YR==", "alg": "aes-256-gcm+ed25519"}',
        b'{"enc": "\\ud800", "sig": "YQ==", "alg": "aes-256-gcm+ed25519"}',
        b'{"enc": ["a"], "sig": "YQ==", "alg": "aes-256-gcm+ed25519"}',
        b'{"enc": "a", "sig": null, "alg": "aes-256-gcm+ed25519"}',
        b'{"enc": "a", "sig": "YQ==", "alg": 1}',
    ],
)
def test_an_armour_with_something_else_in_it_is_no_proof(sealed: bytes) -> None:
    assert problem(armoured(sealed))


@given(st.text(max_size=200) | st.binary(max_size=200).map(armoured))
def test_whatever_stands_in_a_file_it_is_no_proof_and_no_exception(text: str) -> None:
    assert isinstance(opened(text), NoProof)


@given(
    st.lists(st.sampled_from([BEGIN, END, "", "e30=", "A" * 60, "A" * 59, "é" * 60]), max_size=6)
)
def test_lines_in_any_order_are_no_proof(lines: list[str]) -> None:
    assert isinstance(opened("\n".join(lines)), NoProof)


def test_files_of_others_do_not_open(document: Document, write_file: WriteFile) -> None:
    text = write_file(document())
    other = "another licence or machine"
    assert other in problem(text, key=KEY.replace("0", "1"))
    assert other in problem(text, fingerprint="5b" * 32)
    assert other in problem(text, key="", fingerprint="")
    assert problem(text, public_key=OTHER_KEY.public_hex) == "its signature is wrong"
    assert problem(write_file(document(), signer=OTHER_KEY)) == "its signature is wrong"
    assert other in problem(write_file(document(), secret="z" * 90))
    for wrong in ("", "35" * 31, "zz" * 32, "é" * 64):
        assert problem(text, public_key=wrong)


def test_key_and_fingerprint_cannot_trade_characters(
    document: Document, write_file: WriteFile
) -> None:
    """The secret is the one behind the other: where one ends is not in it."""
    text = write_file(document())
    for shift in (1, 7, len(FINGERPRINT)):
        longer, shorter = KEY + FINGERPRINT[:shift], FINGERPRINT[shift:]
        assert "another licence" in problem(text, key=longer, fingerprint=shorter)
        longer, shorter = KEY[-shift:] + FINGERPRINT, KEY[:-shift]
        assert "another licence" in problem(text, key=shorter, fingerprint=longer)


def test_a_licence_file_is_no_machine_file(document: Document, write_file: WriteFile) -> None:
    """Neither as it is, nor with its begin and end lines renamed: the signature says which."""
    text = write_file(document(), prefix="license")
    assert text.startswith("-----BEGIN LICENSE FILE-----")
    assert "begin or end line" in problem(text)
    renamed = text.replace("LICENSE FILE", "MACHINE FILE")
    assert problem(renamed) == "its signature is wrong"
    machine = write_file(document())
    for old, new in ((BEGIN, "-----BEGIN LICENSE FILE-----"), (END, "-----END LICENSE FILE-----")):
        assert "begin or end line" in problem(machine.replace(old, new))


def test_a_file_that_everybody_can_read_is_refused(
    document: Document, write_file: WriteFile
) -> None:
    text = write_file(document(), algorithm="base64+ed25519", secret=None)
    assert "its algorithm is another one" in problem(text)
    # Called encrypted, it is still none: its signature holds, and there is nothing to decrypt.
    lied = write_file(document(), secret=None)
    assert "its content is malformed" in problem(lied)
    for algorithm in ("aes-256-gcm+rsa-sha256", "AES-256-GCM+ed25519", "aes-256-gcm", ""):
        assert "algorithm" in problem(write_file(document(), algorithm=algorithm))


def test_lines_have_sixty_columns(short_file: str) -> None:
    body = "".join(short_file.splitlines()[1:-1])
    for columns in (1, 59, 61, 64, 76, len(body)):
        lines = [body[at : at + columns] for at in range(0, len(body), columns)]
        assert "another length" in problem("\n".join((BEGIN, *lines, END)))
    assert "begin or end line" in problem(f"{BEGIN}\n{END}\n")
    assert "another length" in problem(f"{BEGIN}\n\n{END}\n")


def test_a_proof_is_read_once_and_an_empty_file_never(
    document: Document, write_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = write_file(document())
    read_proof.cache_clear()
    first = read_proof(text, KEY, FINGERPRINT, PINNED.public_key)
    assert isinstance(first, LicenceProof)
    monkeypatch.setattr(certificate, "Ed25519PublicKey", None)
    again = read_proof("".join(list(text)), KEY, FINGERPRINT, PINNED.public_key)
    assert again is first
    assert read_proof("", KEY, FINGERPRINT, PINNED.public_key) is None


def test_what_is_remembered_is_of_this_key_machine_and_licensor(
    document: Document, write_file: WriteFile
) -> None:
    text = write_file(document())
    assert isinstance(read_proof(text, KEY, FINGERPRINT, PINNED.public_key), LicenceProof)
    assert isinstance(read_proof(text, "other", FINGERPRINT, PINNED.public_key), NoProof)
    assert isinstance(read_proof(text, KEY, "5b" * 32, PINNED.public_key), NoProof)
    assert isinstance(read_proof(text, KEY, FINGERPRINT, OTHER_KEY.public_hex), NoProof)
