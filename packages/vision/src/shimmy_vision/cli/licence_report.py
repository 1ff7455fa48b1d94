"""What a licence's standing looks like, as values; ``cli.license`` writes them."""

from __future__ import annotations

from typing import Any

from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.domain.licence.metering import judge_pages
from shimmy_vision.domain.licence.refusals import Refused
from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.read_standing import Standing
from shimmy_vision.use_cases.refuse_access import refuse_access

_SHOWN_CHARACTERS = 8


def describe_standing(standing: Standing, key: str, licensing: Licensing) -> dict[str, Any]:
    """Everything ``status`` says; the key only by its last characters."""
    proof, access = standing.evidence.proof, standing.access
    report: dict[str, Any] = {
        "plan": None if proof is None else proof.facts.plan,
        "access": isinstance(access, Granted),
        "key": "..." + key[-_SHOWN_CHARACTERS:],
        "expires": None if proof is None else proof.facts.expiry,
        "confirmed": None if proof is None else proof.issued,
        "good_without_server_until": access.until if isinstance(access, Granted) else None,
        "machines_allowed": None if proof is None else _limit(proof.facts.max_machines),
    }
    report.update(describe_usage(standing))
    notices = access.notices if isinstance(access, Granted) else ()
    report["notices"] = "; ".join(one.message for one in notices) or None
    report["sandbox"] = licensing.licensor.sandbox
    return report


def describe_usage(standing: Standing) -> dict[str, Any]:
    """Pages of this month and what of them the server has not counted yet."""
    proof, usage = standing.evidence.proof, standing.usage
    if proof is None:
        return {"pages_used": None, "pages_allowed": None, "resets": None}
    metered = proof.facts.max_uses is not None
    return {
        "pages_used": usage.total if metered else None,
        "pages_allowed": _limit(proof.facts.max_uses),
        "resets": proof.facts.period_end if metered else None,
        "not_yet_counted": usage.waiting + usage.reserved if metered else None,
        "analysed_on_this_machine": standing.record.total,
    }


def refusal_of(standing: Standing, licensing: Licensing) -> LicenceError | None:
    """The error that an analysis of one image would meet, if it would meet one."""
    access, proof = standing.access, standing.evidence.proof
    if isinstance(access, Refused):
        return refuse_access(access, licensing)
    if proof is not None:
        judged = judge_pages(proof, standing.usage, 1, licensing.licensor, licensing.now())
        if isinstance(judged, Refused):
            return refuse_access(judged, licensing)
    return None


def _limit(value: int | None) -> int | str:
    return "unlimited" if value is None else value
