"""Machine files: what the licence server signed, for use while it cannot be asked.

A file is armoured base64 of ``{enc, sig, alg}``; ``enc`` is encrypted with the licence key and the
machine's fingerprint and signed as it stands. Every byte counts: what decodes the same but is
written differently is refused too.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shimmy_vision.domain.licence.licence_facts import (
    LicenceFacts,
    included,
    read_licence,
    read_machine,
    read_moment,
    related_id,
)

DEFAULT_GRACE = timedelta(hours=24)
SHORTEST_GRACE = timedelta(hours=1)  # Keygen issues no file for less.
_LONGEST_GRACE = timedelta(days=366)
_ALGORITHM = "aes-256-gcm+ed25519"
_COLUMNS = 60
_BEGIN, _END = "-----BEGIN MACHINE FILE-----", "-----END MACHINE FILE-----"


@dataclass(frozen=True, slots=True)
class LicenceProof:
    """What a genuine machine file proves.

    ``grace`` is how long after ``issued`` the server need not be reached; ``ends`` is when the
    file itself ends. ``ends_on_expiry`` is False where the policy lets expired licences work on:
    the server called this one valid, and issued the file, after it had expired.
    """

    facts: LicenceFacts
    machine: str
    fingerprint: str = field(repr=False)
    product: str
    entitlements: frozenset[str]
    issued: datetime
    ends: datetime
    grace: timedelta
    ends_on_expiry: bool


@dataclass(frozen=True, slots=True)
class NoProof:
    """Why a file proves nothing: it was altered, or it is another licence's or machine's."""

    problem: str


def open_machine_file(
    text: str, *, licence_key: str, fingerprint: str, public_key: str
) -> LicenceProof | NoProof:
    """Verify, decrypt and read a machine file; ``public_key`` is hex."""
    try:
        sealed = _sealed(text)
        enc, signature = sealed["enc"], _decode(sealed["sig"])
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(signature, f"machine/{enc}".encode())
    except InvalidSignature:
        return NoProof("its signature is wrong")
    except (ValueError, RecursionError) as error:
        return NoProof(f"it is no machine file: {error}")
    try:
        document = json.loads(_decrypt(enc, licence_key + fingerprint))
        return _read(document, licence_key, fingerprint)
    except InvalidTag:
        return NoProof("it was issued for another licence or machine")
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        return NoProof(f"its content is malformed: {error}")


def read_grace(metadata: Mapping[str, Any]) -> timedelta:
    """``offlineGraceHours``, between an hour and a year; a day without it.

    A plan's policy sets it and fulfilment copies it into each licence: by Keygen's default
    permissions a licence key may not read its policy.
    """
    hours = metadata.get("offlineGraceHours")
    if not isinstance(hours, int | float) or isinstance(hours, bool) or hours != hours:
        return DEFAULT_GRACE
    # Bounded in hours first: a duration of 1e30 hours cannot even be built.
    longest, shortest = (one / timedelta(hours=1) for one in (_LONGEST_GRACE, SHORTEST_GRACE))
    return timedelta(hours=min(max(hours, shortest), longest))


def _sealed(text: str) -> Mapping[str, str]:
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or lines[0] != _BEGIN or lines[-1] != _END:
        raise ValueError("begin or end line is missing")
    body = lines[1:-1]
    if any(len(line) != _COLUMNS for line in body[:-1]) or not 0 < len(body[-1]) <= _COLUMNS:
        raise ValueError("its lines are of another length")
    written = _decode("".join(body)).decode()
    sealed = json.loads(written)
    if not isinstance(sealed, dict) or set(sealed) != {"enc", "sig", "alg"}:
        raise ValueError("it holds something else")
    if not all(isinstance(part, str) for part in sealed.values()):
        raise ValueError("it holds something else")
    if sealed["alg"] != _ALGORITHM:
        raise ValueError("its algorithm is another one")
    # JSON can be spelt in many ways; Keygen puts no blanks in it, our sandbox those of Python.
    if written not in (json.dumps(sealed, separators=(",", ":")), json.dumps(sealed)):
        raise ValueError("it is spelt otherwise")
    return sealed


def _decode(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    # Unused bits at the end of base64 may differ without changing what is decoded.
    if base64.b64encode(data).decode() != text:
        raise binascii.Error("base64 is not canonical")
    return data


def _decrypt(enc: str, secret: str) -> bytes:
    cipher, nonce, tag = (_decode(part) for part in enc.split("."))
    key = hashlib.sha256(secret.encode()).digest()
    return AESGCM(key).decrypt(nonce, cipher + tag, None)


def _read(document: Mapping[str, Any], key: str, fingerprint: str) -> LicenceProof | NoProof:
    machine = read_machine(document["data"])
    licence = _one(document, "licenses", related_id(document["data"], "license"))
    facts = read_licence(licence)
    if machine.fingerprint != fingerprint or facts.key != key:
        return NoProof("it was issued for another licence or machine")
    issued, ends = (read_moment(document["meta"][name]) for name in ("issued", "expiry"))
    if issued is None or ends is None:
        raise ValueError("it has no end")
    codes = (one["attributes"]["code"] for one in included(document, "entitlements"))
    return LicenceProof(
        facts=facts,
        machine=machine.id,
        fingerprint=machine.fingerprint,
        product=related_id(licence, "product"),
        entitlements=frozenset(codes),
        issued=issued,
        ends=ends,
        grace=read_grace(licence["attributes"].get("metadata") or {}),
        ends_on_expiry=facts.expiry is None or issued < facts.expiry,
    )


def _one(document: Mapping[str, Any], kind: str, identifier: str) -> Mapping[str, Any]:
    found = [one for one in included(document, kind) if one.get("id") == identifier]
    if len(found) != 1:
        raise ValueError(f"{kind} are not included")
    return found[0]
