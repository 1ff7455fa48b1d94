"""Proofs, evidence and machine files for the tests of the licensing domain."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shimmy_sandbox.keygen.certificates import Armour, write_certificate
from shimmy_sandbox.keygen.signing import SigningKey
from shimmy_vision.domain.licence.access import LicenceEvidence
from shimmy_vision.domain.licence.certificate import LicenceProof
from shimmy_vision.domain.licence.licence_facts import LicenceFacts
from shimmy_vision.domain.licence.pinned import PINNED

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEY, FINGERPRINT = "0F4B2C-9D11E7-A3C5F8-77B0D2-C41E96-V3", "5a" * 32

FACTS = {
    "id": "licence-1",
    "expiry": None,
    "suspended": False,
    "uses": 0,
    "max_uses": 2500,
    "max_machines": 2,
    "plan": "developer",
    "period_start": None,
    "period_end": None,
}
PROOF = {
    "machine": "machine-1",
    "fingerprint": FINGERPRINT,
    "product": PINNED.product,
    "entitlements": frozenset({"vision"}),
    "issued": NOW,
    "ends": NOW + timedelta(hours=24),
    "grace": timedelta(hours=24),
    "ends_on_expiry": True,
}
EVIDENCE = {
    "licensor": PINNED,
    "fingerprint": FINGERPRINT,
    "denial": None,
    "latest_seen": NOW,
    "trouble": "",
}


@pytest.fixture(scope="session")
def make_proof() -> Callable[..., LicenceProof]:
    """A good proof issued at NOW; what is named is another, the licence's facts among it."""
    names = {one.name for one in fields(LicenceFacts)}

    def make(**changes: Any) -> LicenceProof:
        facts = {name: value for name, value in changes.items() if name in names}
        others = {name: value for name, value in changes.items() if name not in names}
        return LicenceProof(LicenceFacts(**{**FACTS, **facts}), **{**PROOF, **others})

    return make


@pytest.fixture(scope="session")
def make_evidence(make_proof: Callable[..., LicenceProof]) -> Callable[..., LicenceEvidence]:
    """Evidence of access at NOW; what is named is another."""

    def make(**changes: Any) -> LicenceEvidence:
        return LicenceEvidence(**{**EVIDENCE, "proof": make_proof(), **changes})

    return make


@pytest.fixture(scope="session")
def document() -> Callable[[], dict[str, Any]]:
    """The payload of a machine file as Keygen writes it, a fresh copy each time."""
    return lambda: copy.deepcopy(DOCUMENT)


@pytest.fixture(scope="session")
def write_file() -> Callable[..., str]:
    """A payload as a machine file; what is named is another than the sandbox would choose."""

    def write(payload: Any, **changes: Any) -> str:
        prefix = changes.get("prefix", "machine")
        algorithm = changes.get("algorithm", "aes-256-gcm+ed25519")
        secret = changes.get("secret", KEY + FINGERPRINT)
        signer = changes.get("signer", SigningKey())
        return write_certificate(payload, Armour(prefix, algorithm, secret), signer)

    return write


DOCUMENT: dict[str, Any] = {
    "data": {
        "id": "7c9f1e52-60f6-4d2b-9d0c-0e5f6a2b8c11",
        "type": "machines",
        "attributes": {
            "fingerprint": FINGERPRINT,
            "name": "build-7",
            "platform": "Linux x86_64",
            "created": "2026-11-20T08:00:00.000Z",
        },
        "relationships": {
            "license": {"data": {"type": "licenses", "id": "c0a4d1a7-3c55-4a90-8e0c-5d9f3c1f2a10"}}
        },
    },
    "included": [
        {
            "id": "c0a4d1a7-3c55-4a90-8e0c-5d9f3c1f2a10",
            "type": "licenses",
            "attributes": {
                "name": "Developer",
                "key": KEY,
                "expiry": "2026-12-20T08:00:00.000Z",
                "suspended": False,
                "uses": 41,
                "maxUses": 2500,
                "maxMachines": 2,
                "metadata": {
                    "plan": "developer",
                    "offlineGraceHours": 36,
                    "pagesPeriodStart": "2026-11-17T08:00:00.000Z",
                    "pagesPeriodEnd": "2026-12-17T08:00:00.000Z",
                },
            },
            "relationships": {
                "product": {
                    "data": {"type": "products", "id": "06afcbe1-c09e-54ec-95cc-52f980e8a3ee"}
                }
            },
        },
        {"id": "e1", "type": "entitlements", "attributes": {"code": "vision"}},
        {"id": "e2", "type": "entitlements", "attributes": {"code": "batch"}},
    ],
    "meta": {
        "issued": "2026-11-24T12:00:00.000Z",
        "expiry": "2026-11-26T00:00:00.000Z",
        "ttl": 129600,
    },
}
