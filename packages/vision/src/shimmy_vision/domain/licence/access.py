"""May this machine analyse an image now? The one decision every entry point passes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from shimmy_vision.domain.licence.certificate import LicenceProof
from shimmy_vision.domain.licence.licence_facts import Denial
from shimmy_vision.domain.licence.licensor import ENTITLEMENT, Licensor
from shimmy_vision.domain.licence.refusals import Refused, explain_denial, say_day, see_plans

# A corrected clock, a time zone set wrong, a summer time missed: none of these is a rollback.
ROLLBACK_TOLERANCE = timedelta(hours=4)


@dataclass(frozen=True, slots=True)
class Notice:
    """What the user should know although access is given; ``code`` is stable."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LicenceEvidence:
    """What is known about this machine's licence without asking anyone.

    ``proof``       what the machine file proves, None where there is none
    ``denial``      the server's latest word, if that was a signed no
    ``latest_seen`` the latest moment this machine has been at: signed times and its own clock
    ``trouble``     why the server could not be asked the last time, empty if it could
    """

    licensor: Licensor
    fingerprint: str
    proof: LicenceProof | None
    denial: Denial | None
    latest_seen: datetime
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Granted:
    """Access is given under ``plan``, without the server's word until ``until``."""

    plan: str
    until: datetime
    notices: tuple[Notice, ...] = ()


Access: TypeAlias = Granted | Refused


NO_LICENCE = Refused(
    "licence-missing",
    "This machine has no licence.",
    "Activate a key: shimmy license activate KEY (or set SHIMMY_LICENSE_KEY).",
)

MACHINE_CHANGED = Refused(
    "machine-changed",
    "The licence here was activated on another machine, or this machine's id has changed.",
    "Activate it here: shimmy license activate",
)

MACHINE_PASSING = Refused(
    "machine-id-passing",
    "This machine would be another one to the licence at every start: it has no id of its own, and "
    "none can be kept here.",
    "Name one that stays the same: SHIMMY_MACHINE_ID, --machine-id or a mounted file",
)


def decide_access(evidence: LicenceEvidence | None, now: datetime) -> Access:
    """Decide from evidence alone; ``now`` must be timezone-aware."""
    if evidence is None:
        return NO_LICENCE
    if evidence.denial is not None:
        if evidence.denial.code == "NOT_FOUND" and evidence.proof is not None:
            return _gone(evidence)
        return explain_denial(evidence.denial, evidence.licensor, evidence.fingerprint)
    proof = evidence.proof
    if proof is None:
        return _unproved(evidence)
    refused = _refuse_foreign(proof, evidence) or _refuse_by_time(proof, evidence, now)
    if refused is not None:
        return refused
    until = _end_of_access(proof)
    return Granted(proof.facts.plan, until, _notices(evidence, proof, until, now))


def _gone(evidence: LicenceEvidence) -> Refused:
    """A key that worked here has no typing errors."""
    return Refused(
        "licence-revoked",
        "This licence does not exist any more.",
        f"Your licence and payments: {evidence.licensor.portal_url}. "
        f"{see_plans(evidence.licensor)}",
    )


def _reach_server(evidence: LicenceEvidence) -> str:
    if "SHIMMY_OFFLINE" in evidence.trouble:
        return "Unset SHIMMY_OFFLINE for a moment"
    return f"Make sure that {evidence.licensor.api_url} can be reached"


def _unproved(evidence: LicenceEvidence) -> Refused:
    if evidence.trouble:
        return Refused(
            "licence-unconfirmed",
            f"The licence could not be confirmed: {evidence.trouble}.",
            f"{_reach_server(evidence)}, then run the command again: the first confirmation needs "
            "the network.",
        )
    return Refused(
        "licence-not-activated",
        "The licence is not activated on this machine yet.",
        "Activate it: shimmy license activate",
    )


def _refuse_foreign(proof: LicenceProof, evidence: LicenceEvidence) -> Refused | None:
    """The proof is genuine, but of something else than this program on this machine."""
    plans = see_plans(evidence.licensor)
    if proof.fingerprint != evidence.fingerprint:
        return MACHINE_CHANGED
    if proof.product != evidence.licensor.product:
        return Refused("licence-wrong-product", "The licence is one for another product.", plans)
    if ENTITLEMENT not in proof.entitlements:
        return Refused(
            "licence-lacks-entitlement",
            f"The {proof.facts.plan} licence does not include image analysis.",
            plans,
        )
    if proof.facts.suspended:
        return explain_denial(Denial("SUSPENDED", "", proof.issued), evidence.licensor)
    return None


def _refuse_by_time(
    proof: LicenceProof, evidence: LicenceEvidence, now: datetime
) -> Refused | None:
    if now < evidence.latest_seen - ROLLBACK_TOLERANCE:
        return Refused(
            "clock-rolled-back",
            f"This machine's clock says {now:%Y-%m-%d %H:%M} UTC, but it was "
            f"{evidence.latest_seen:%Y-%m-%d %H:%M} here before.",
            "Set the clock if it is wrong, then confirm the licence: shimmy license refresh",
        )
    # Within the tolerance a clock set back must not lengthen anything.
    moment = max(now, evidence.latest_seen)
    expiry = proof.facts.expiry
    if proof.ends_on_expiry and expiry is not None and moment >= expiry:
        return explain_denial(Denial("EXPIRED", "", moment, expiry=expiry), evidence.licensor)
    if moment >= _end_of_proof(proof):
        why = f": {evidence.trouble}" if evidence.trouble else ""
        return Refused(
            "licence-unconfirmed",
            f"The licence was last confirmed at {proof.issued:%Y-%m-%d %H:%M} UTC, and it has to "
            f"be every {_hours(proof.grace)}{why}.",
            f"{_reach_server(evidence)}, then run: shimmy license refresh",
        )
    return None


def _end_of_proof(proof: LicenceProof) -> datetime:
    return min(proof.ends, proof.issued + proof.grace)


def _end_of_access(proof: LicenceProof) -> datetime:
    ends, expiry = _end_of_proof(proof), proof.facts.expiry
    return ends if expiry is None or not proof.ends_on_expiry else min(ends, expiry)


def _notices(
    evidence: LicenceEvidence, proof: LicenceProof, until: datetime, now: datetime
) -> tuple[Notice, ...]:
    notices = []
    if evidence.licensor.sandbox:
        notices.append(
            Notice("licence-sandbox", "SANDBOX: this build accepts simulated licences only.")
        )
    if evidence.trouble:
        notices.append(
            Notice(
                "licence-offline",
                f"The licence could not be confirmed: {evidence.trouble}. Analyses go on until "
                f"{until:%Y-%m-%d %H:%M} UTC.",
            )
        )
    expiry = proof.facts.expiry
    if expiry is not None and expiry <= now:
        # Only a policy that lets expired licences work on comes here.
        notices.append(Notice("licence-expired", f"The licence expired on {say_day(expiry)}."))
    return tuple(notices)


def _hours(span: timedelta) -> str:
    hours = span / timedelta(hours=1)
    return "hour" if hours == 1 else f"{hours:g} hours"
