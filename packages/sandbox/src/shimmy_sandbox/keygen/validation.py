"""Is a licence valid for what the client says it is? Pure, in Keygen's order of questions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple


class Verdict(NamedTuple):
    """``valid`` decides; ``code`` and ``detail`` explain."""

    valid: bool
    detail: str
    code: str


class SeenMachine(NamedTuple):
    """A machine of the licence; ``heartbeat`` is NOT_STARTED, ALIVE or DEAD."""

    id: str
    fingerprint: str
    heartbeat: str


@dataclass(frozen=True, slots=True)
class Examined:
    """Everything a verdict depends on."""

    policy_id: str
    product_id: str
    owner_id: str | None
    owner_email: str | None
    suspended: bool
    expiry: datetime | None
    next_check_in: datetime | None
    max_machines: int | None
    settings: Mapping[str, Any]
    """The policy's settings by their wire names."""
    entitlements: frozenset[str]
    machines: Sequence[SeenMachine]

    @property
    def floating(self) -> bool:
        """Whether the policy lets more than one machine in."""
        return bool(self.settings["floating"])


_OVERAGE = {
    "NO_OVERAGE": 1.0,
    "ALLOW_1_25X_OVERAGE": 1.25,
    "ALLOW_1_5X_OVERAGE": 1.5,
    "ALLOW_2X_OVERAGE": 2.0,
}
VALID = Verdict(True, "is valid", "VALID")


def machines_allowed(limit: int | None, overage_strategy: str) -> float | None:
    """How many machines a limit lets in; None is any number."""
    if limit is None or overage_strategy == "ALWAYS_ALLOW_OVERAGE":
        return None
    return limit * _OVERAGE[overage_strategy]


def validate(
    licence: Examined | None, scope: Mapping[str, Any] | None, now: datetime, *, quick: bool = False
) -> Verdict:
    """``quick`` skips every question about scope."""
    if licence is None:
        return Verdict(False, "does not exist", "NOT_FOUND")
    if licence.suspended:
        return Verdict(False, "is suspended", "SUSPENDED")
    strategy = licence.settings["expirationStrategy"]
    expired = licence.expiry is not None and licence.expiry < now
    if expired and strategy == "REVOKE_ACCESS":
        return Verdict(False, "is expired", "EXPIRED")
    if licence.next_check_in is not None and licence.next_check_in < now:
        return Verdict(False, "is overdue for check in", "OVERDUE")
    refused = None if quick else _scope_refusal(licence, scope or {})
    if refused is None and licence.settings["strict"]:
        refused = _machine_refusal(licence)
    if refused is not None:
        return refused
    if expired:
        lenient = strategy in ("MAINTAIN_ACCESS", "ALLOW_ACCESS")
        return Verdict(lenient, "is expired", "EXPIRED")
    return VALID


def _scope_refusal(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    for question in _QUESTIONS:
        verdict = question(licence, scope)
        if verdict is not None:
            return verdict
    return None


def _required(licence: Examined, name: str) -> Verdict | None:
    if not licence.settings[f"require{name.title()}Scope"]:
        return None
    return Verdict(False, f"{name} scope is required", f"{name.upper()}_SCOPE_REQUIRED")


def _mismatch(name: str, why: str = "does not match") -> Verdict:
    return Verdict(False, f"{name} scope {why}", f"{name.upper()}_SCOPE_MISMATCH")


def _product(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    if "product" not in scope:
        return _required(licence, "product")
    return None if scope["product"] == licence.product_id else _mismatch("product")


def _policy(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    if "policy" not in scope:
        return _required(licence, "policy")
    return None if scope["policy"] == licence.policy_id else _mismatch("policy")


def _user(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    if "user" not in scope:
        return _required(licence, "user")
    return None if scope["user"] in (licence.owner_id, licence.owner_email) else _mismatch("user")


def _entitlements(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    if "entitlements" not in scope:
        return None
    wanted = set(scope["entitlements"])
    if not wanted:
        return Verdict(False, "entitlements scope is empty", "ENTITLEMENTS_SCOPE_EMPTY")
    if wanted <= licence.entitlements:
        return None
    detail = "is missing one or more required entitlements"
    return Verdict(False, detail, "ENTITLEMENTS_MISSING")


def _machine(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    if "machine" not in scope:
        return _required(licence, "machine")
    if not licence.machines:
        return _no_machine(licence, "machine")
    named = [one for one in licence.machines if one.id == scope["machine"]]
    if not named:
        return _not_activated("machine", "does not match any associated machines")
    if licence.settings["requireHeartbeat"] and named[0].heartbeat == "NOT_STARTED":
        return _HEARTBEAT_REQUIRED
    return _HEARTBEAT_DEAD if named[0].heartbeat == "DEAD" else None


def _fingerprint(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    if "fingerprint" not in scope and "fingerprints" not in scope:
        return _required(licence, "fingerprint")
    asked = scope["fingerprint"] if scope.get("fingerprint") else scope.get("fingerprints", ())
    wanted = {asked} if isinstance(asked, str) else set(asked)
    if not wanted:
        return Verdict(False, "fingerprint scope is empty", "FINGERPRINT_SCOPE_EMPTY")
    if not licence.machines:
        return _no_machine(licence, "fingerprint")
    matching = [one for one in licence.machines if one.fingerprint in wanted]
    alive = [one for one in matching if one.heartbeat != "DEAD"]
    if len(matching) - len(alive) == len(wanted):
        return _HEARTBEAT_DEAD
    if len(alive) < _fewest(licence, len(wanted)):
        return _not_activated("fingerprint", "does not match any associated machines")
    if licence.settings["requireHeartbeat"] and any(
        one.heartbeat == "NOT_STARTED" for one in alive
    ):
        return _HEARTBEAT_REQUIRED
    return None


def _fewest(licence: Examined, asked: int) -> int:
    """How many of so many fingerprints must match."""
    if asked == 1:
        return 1
    strategies = {"MATCH_TWO": 2, "MATCH_MOST": math.ceil(asked / 2), "MATCH_ALL": asked}
    return strategies.get(licence.settings["machineMatchingStrategy"], 1)


def _components(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    """The sandbox keeps no components, so none ever matches."""
    if "components" not in scope:
        return _required(licence, "components")
    if "fingerprint" not in scope:
        detail = "fingerprint scope is required when using the components scope"
        return Verdict(False, detail, "FINGERPRINT_SCOPE_REQUIRED")
    if not scope["components"]:
        return Verdict(False, "components scope is empty", "COMPONENTS_SCOPE_EMPTY")
    return _not_activated(
        "components", "does not match any associated components", "one or more component"
    )


def _checksum(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    """The sandbox keeps no releases, so no checksum ever matches; nor does a version."""
    if "checksum" not in scope:
        return _required(licence, "checksum")
    return _mismatch("checksum", "is not valid (does not match any accessible artifacts)")


def _version(licence: Examined, scope: Mapping[str, Any]) -> Verdict | None:
    if "version" not in scope:
        return _required(licence, "version")
    return _mismatch("version", "is not valid (does not match any accessible releases)")


_QUESTIONS = (
    _product,
    _policy,
    _user,
    _entitlements,
    _machine,
    _fingerprint,
    _components,
    _checksum,
    _version,
)
_HEARTBEAT_DEAD = Verdict(False, "machine heartbeat is dead", "HEARTBEAT_DEAD")
_HEARTBEAT_REQUIRED = Verdict(False, "machine heartbeat is required", "HEARTBEAT_NOT_STARTED")


def _no_machine(licence: Examined, what: str) -> Verdict:
    if licence.floating:
        detail = f"{what} is not activated (has no associated machines)"
        return Verdict(False, detail, "NO_MACHINES")
    return Verdict(False, f"{what} is not activated (has no associated machine)", "NO_MACHINE")


def _not_activated(scope: str, why: str, what: str | None = None) -> Verdict:
    detail = f"{what or scope} is not activated ({why})"
    return Verdict(False, detail, f"{scope.upper()}_SCOPE_MISMATCH")


def _machine_refusal(licence: Examined) -> Verdict | None:
    count = len(licence.machines)
    if count == 0:
        if licence.floating:
            return Verdict(False, "must have at least 1 associated machine", "NO_MACHINES")
        return Verdict(False, "must have exactly 1 associated machine", "NO_MACHINE")
    limit = licence.max_machines if licence.floating else licence.max_machines or 1
    if limit is None or count == 1 or count <= limit:
        return None
    allowed = machines_allowed(limit, licence.settings["overageStrategy"])
    tolerated = allowed is None or count <= allowed
    return Verdict(tolerated, "has too many associated machines", "TOO_MANY_MACHINES")
