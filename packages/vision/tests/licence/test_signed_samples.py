"""Documents signed once and kept in ``contracts``: what was genuine stays genuine.

They were written by the sandbox's licence server on 2026-11-25. A change of the client or of the
sandbox that both tests and code went along with would be noticed here.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import keygen
import pytest
from keygen.files import MachineFile
from licence_world import REPOSITORY

from shimmy_vision.domain.licence.access import Granted, LicenceEvidence, decide_access
from shimmy_vision.domain.licence.certificate import LicenceProof, open_machine_file
from shimmy_vision.domain.licence.licence_facts import Valid, read_verdict
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.domain.licence.response_signature import Asked, Genuine, check_reply


def _sample(name: str) -> dict[str, Any]:
    path = REPOSITORY / "contracts/samples" / name
    sample: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return sample


def test_the_signed_validation_is_a_yes() -> None:
    sample = _sample("signed-validation.json")
    asked = Asked(sample["method"], sample["target"], sample["host"], 7410)
    now = datetime.fromisoformat(sample["now"])
    body = sample["body"].encode()
    assert check_reply(asked, sample["headers"], body, PINNED.public_key, now) == Genuine(now)
    verdict = read_verdict(json.loads(body), sample["nonce"], now)
    assert isinstance(verdict, Valid)
    assert (verdict.facts.plan, verdict.facts.max_uses) == ("startup", 50_000)


def test_the_machine_file_gives_access_for_a_day() -> None:
    sample = _sample("machine-file.json")
    proof = open_machine_file(
        sample["certificate"],
        licence_key=sample["key"],
        fingerprint=sample["fingerprint"],
        public_key=PINNED.public_key,
    )
    assert isinstance(proof, LicenceProof)
    now = datetime.fromisoformat(sample["now"])
    evidence = LicenceEvidence(PINNED, sample["fingerprint"], proof, None, now)
    for hours, granted in ((0, True), (23, True), (24, False)):
        access = decide_access(evidence, now + timedelta(hours=hours))
        assert isinstance(access, Granted) == granted


def test_another_client_reads_the_same_machine_file(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = _sample("machine-file.json")
    monkeypatch.setattr(keygen, "public_key", PINNED.public_key)
    MachineFile(sample["certificate"]).verify()
