"""Whether int8 may encode with a projector: it is tried on pictures, beside libmtmd."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never, get_args

from shimmy_vision.domain.model.encoder_choice import INT8_HELD

Outcome: TypeAlias = Literal["held", "fell", "no-faster", "failed"]


@dataclass(frozen=True, slots=True)
class Int8Verdict:
    """``least`` is the least cosine of a row to libmtmd's, on ``picture``; ``reason`` tells why

    nothing was compared, or not enough.
    """

    outcome: Outcome
    least: float = 0.0
    picture: str = ""
    reason: str = ""


def decide_verdict(least: Mapping[str, float], pictures: int) -> Int8Verdict:
    """From the least cosine on each picture so far, at least one, of so many ``pictures``."""
    picture = min(least, key=lambda name: _orderly(least[name]))
    worst = _orderly(least[picture])
    if worst < INT8_HELD:
        return Int8Verdict("fell", worst, picture)
    if len(least) < pictures:
        return Int8Verdict("failed", worst, picture, f"only {len(least)} of {pictures} pictures")
    return Int8Verdict("held", worst, picture)


def _orderly(cosine: float) -> float:
    """What is no number is as unlike as can be."""
    return cosine if math.isfinite(cosine) else -1.0


def parse_verdict(value: object) -> Int8Verdict | None:
    """From a record; None if it is none."""
    match value:
        case {"outcome": str(named), "least": float(least), "picture": str(p), "reason": str(r)}:
            outcome: Outcome | None = next((o for o in get_args(Outcome) if o == named), None)
            if outcome is None or (outcome == "held" and not INT8_HELD <= least <= 1.01):
                return None
            return Int8Verdict(outcome, least, p, r)
        case _:
            return None


def verdict_record(verdict: Int8Verdict) -> dict[str, Any]:
    """What ``parse_verdict`` reads."""
    return {
        "outcome": verdict.outcome,
        "least": verdict.least,
        "picture": verdict.picture,
        "reason": verdict.reason,
    }


def describe_verdict(verdict: Int8Verdict) -> str:
    """In words, for ``shimmy doctor``."""
    measured = f"least cosine to libmtmd {verdict.least:.6f} ({verdict.picture})"
    match verdict.outcome:
        case "held":
            return f"int8 is used: {measured}"
        case "fell":
            return f"int8 is not used: {measured}, {INT8_HELD} is wanted"
        case "no-faster":
            return "int8 is not used: it is not clearly faster here"
        case "failed":
            return f"int8 is not used: its trial failed, {verdict.reason}"
        case _:
            assert_never(verdict.outcome)
