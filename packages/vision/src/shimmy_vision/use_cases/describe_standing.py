"""What a licence's standing looks like, as values."""

from __future__ import annotations

from typing import Any

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.describe_usage import describe_usage
from shimmy_vision.use_cases.read_standing import Standing

_SHOWN_CHARACTERS = 8


def describe_standing(standing: Standing, key: str, licensing: Licensing) -> dict[str, Any]:
    """Everything ``status`` says; the key only by its last characters."""
    proof, access = standing.evidence.proof, standing.access
    limit = None if proof is None else proof.facts.max_machines
    report: dict[str, Any] = {
        "plan": None if proof is None else proof.facts.plan,
        "access": isinstance(access, Granted),
        "key": "..." + key[-_SHOWN_CHARACTERS:],
        "expires": None if proof is None else proof.facts.expiry,
        "confirmed": None if proof is None else proof.issued,
        "good_without_server_until": access.until if isinstance(access, Granted) else None,
        "machines_allowed": "unlimited" if proof is not None and limit is None else limit,
    }
    report.update(describe_usage(standing))
    notices = access.notices if isinstance(access, Granted) else ()
    report["notices"] = "; ".join(one.message for one in notices) or None
    report["sandbox"] = licensing.licensor.sandbox
    return report
