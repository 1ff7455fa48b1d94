"""Whether everything was held over a window, for a program that asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shimmy_ops.domain.monitoring.picture import Objective, Picture

State = Literal["held", "missed", "unknown"]
_NAMES: Mapping[str, str] = {
    "error-rate": "error_rate",
    "availability": "availability",
    "p99": "p99_seconds",
    "settling-p99": "settling_p99_seconds",
    "mail-p99": "mail_p99_seconds",
    "drift": "drift",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """``missed`` and ``unknown`` name what is not held, as sentences."""

    figures: Mapping[str, float | None]
    coverage: float
    window_hours: float
    missed: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def state(self) -> State:
        """Missed outweighs unknown."""
        return "missed" if self.missed else "unknown" if self.unknown else "held"


def judge_picture(picture: Picture, min_coverage: float) -> Verdict:
    """Held is what was measured and is as promised, by samples that cover the window."""
    figures = {_NAMES[one.id]: one.measured for one in picture.objectives}
    missed = [_missed(one) for one in picture.objectives if one.state == "missed"]
    unknown = [f"{one.id}: {one.reason}" for one in picture.objectives if one.state == "unknown"]
    covered = picture.window.coverage
    if covered < min_coverage:
        unknown.append(
            f"coverage: samples cover {covered:.1%} of the window, {min_coverage:.1%} are needed"
        )
    return Verdict(figures, covered, picture.window.hours, tuple(missed), tuple(unknown))


def _missed(one: Objective) -> str:
    bound = "at least" if one.at_least else "at most"
    return f"{one.id}: {one.measured:g}, {bound} {one.target:g} was promised"


def verdict_document(verdict: Verdict) -> dict[str, object]:
    """What ``monitor check --json`` prints."""
    return {
        **verdict.figures,
        "coverage": verdict.coverage,
        "window_hours": verdict.window_hours,
        "held": verdict.state == "held",
        "state": verdict.state,
        "missed": list(verdict.missed),
        "unknown": list(verdict.unknown),
    }
