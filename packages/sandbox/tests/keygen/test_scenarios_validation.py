"""Conformance scenarios of validation; ``scenarios.json`` says what each is about."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from shimmy_sandbox.keygen.wire import written_time

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAST = "2026-02-01T00:00:00.000Z"


@pytest.fixture
def office(office: Any) -> Any:
    office.server.controls.clock.freeze(NOW)
    return office


def by_id(office: Any, licence: Any, **scope: Any) -> dict[str, Any]:
    path = f"licenses/{licence['id']}/actions/validate"
    reply = office.ask("POST", path, "admin", meta={"scope": scope})
    assert reply.status_code == 200, reply.text
    meta: dict[str, Any] = reply.json()["meta"]
    return meta


def said(meta: dict[str, Any]) -> tuple[bool, str]:
    return meta["valid"], meta["code"]


def test_vk01_active_licence_is_valid_for_anybody(office: Any) -> None:
    licence = office.licence()
    meta = {"key": licence["attributes"]["key"], "nonce": 7}
    reply = office.ask("POST", "licenses/actions/validate-key", meta=meta)
    assert reply.status_code == 200
    assert reply.json()["meta"] == {
        "ts": written_time(NOW),
        "valid": True,
        "detail": "is valid",
        "code": "VALID",
        "nonce": 7,
    }
    assert reply.json()["data"]["id"] == licence["id"]
    assert reply.json()["data"]["attributes"]["lastValidated"] == written_time(NOW)
    assert office.shown(licence)["lastValidated"] == written_time(NOW)


def test_vk02_unknown_key(office: Any) -> None:
    meta = {"key": "nobody has this"}
    reply = office.ask("POST", "licenses/actions/validate-key", meta=meta)
    answer = reply.json()
    assert (reply.status_code, answer["data"]) == (200, None)
    assert said(answer["meta"]) == (False, "NOT_FOUND")
    assert answer["meta"]["detail"] == "does not exist"


def test_vk04_strict_node_locked_without_machine(office: Any) -> None:
    meta = by_id(office, office.licence(office.policy(strict=True)))
    assert said(meta) == (False, "NO_MACHINE")
    assert meta["detail"] == "must have exactly 1 associated machine"


def test_vk05_strict_floating_without_machine(office: Any) -> None:
    meta = by_id(office, office.licence(office.policy(strict=True, floating=True)))
    assert said(meta) == (False, "NO_MACHINES")
    assert meta["detail"] == "must have at least 1 associated machine"


def test_vk07_other_fingerprint(office: Any) -> None:
    licence = office.licence()
    office.activate(licence, "A")
    meta = office.validate(licence, fingerprint="B")
    assert said(meta) == (False, "FINGERPRINT_SCOPE_MISMATCH")


def test_vk08_activated_fingerprint(office: Any) -> None:
    licence = office.licence()
    office.activate(licence, "A")
    meta = office.validate(licence, fingerprint="A")
    assert said(meta) == (True, "VALID")
    assert meta["scope"] == {"fingerprint": "A"}


def test_vk10_quick_validation_skips_scopes(office: Any) -> None:
    licence = office.licence(office.policy(requireFingerprintScope=True))
    path = f"licenses/{licence['id']}/actions/validate"
    assert said(office.ask("GET", path, "admin").json()["meta"]) == (True, "VALID")
    assert said(office.validate(licence)) == (False, "FINGERPRINT_SCOPE_REQUIRED")


def test_vk11_no_fingerprints(office: Any) -> None:
    meta = office.validate(office.licence(), fingerprints=[])
    assert said(meta) == (False, "FINGERPRINT_SCOPE_EMPTY")


def expired(office: Any, strategy: str) -> Any:
    policy = office.policy(expirationStrategy=strategy, floating=True)
    licence = office.licence(policy, expiry=PAST)
    office.activate(licence, "A")
    return licence


def test_vk13_expired_and_not_activated_when_restricting(office: Any) -> None:
    meta = office.validate(expired(office, "RESTRICT_ACCESS"), fingerprint="B")
    assert said(meta) == (False, "FINGERPRINT_SCOPE_MISMATCH")


def test_vk14_expired_and_not_activated_when_revoking(office: Any) -> None:
    meta = office.validate(expired(office, "REVOKE_ACCESS"), fingerprint="B")
    assert said(meta) == (False, "EXPIRED")


@pytest.mark.parametrize("strategy", ["MAINTAIN_ACCESS", "ALLOW_ACCESS"])
def test_vk16_access_outlives_expiry(office: Any, strategy: str) -> None:
    assert said(office.validate(expired(office, strategy))) == (True, "EXPIRED")


def test_vk17_more_machines_than_a_lowered_limit(office: Any) -> None:
    policy = office.policy(strict=True, floating=True, maxMachines=3)
    licence = office.licence(policy)
    for name in "ABC":
        assert office.activate(licence, name).status_code == 201
    assert said(office.validate(licence)) == (True, "VALID")
    office.change(f"policies/{policy}", "policies", maxMachines=2)
    assert said(office.validate(licence)) == (False, "TOO_MANY_MACHINES")


def test_vk19_lenient_policy_counts_no_machines(office: Any) -> None:
    policy = office.policy(floating=True, maxMachines=2)
    licence = office.licence(policy)
    for name in "AB":
        office.activate(licence, name)
    office.change(f"policies/{policy}", "policies", maxMachines=1)
    assert said(office.validate(licence)) == (True, "VALID")


def test_vk20_missing_entitlement(office: Any) -> None:
    policy = office.policy()
    licence = office.licence(policy)
    office.attach(f"policies/{policy}", office.entitlement("A"))
    other = office.entitlement("B")
    meta = office.validate(licence, entitlements=["A", "B"])
    assert said(meta) == (False, "ENTITLEMENTS_MISSING")
    office.attach(f"licenses/{licence['id']}", other)
    assert said(office.validate(licence, entitlements=["A", "B"])) == (True, "VALID")


def test_vk22_used_up_is_still_valid(office: Any) -> None:
    licence = office.licence(maxUses=1)
    office.ask("POST", f"licenses/{licence['id']}/actions/increment-usage", "admin")
    assert office.shown(licence)["uses"] == 1
    assert said(office.validate(licence)) == (True, "VALID")


def test_su01_suspended(office: Any) -> None:
    licence = office.licence(suspended=True)
    meta = by_id(office, licence)
    assert said(meta) == (False, "SUSPENDED")
    assert meta["detail"] == "is suspended"
    assert said(office.validate(licence)) == (False, "SUSPENDED")
