"""What the launch must reach: computed from what commands said, never ticked by anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shimmy_ops.domain.launch import readings
from shimmy_ops.domain.launch.plan import Bound, LaunchPlan
from shimmy_ops.domain.launch.readings import Evidence, Limits, Reading
from shimmy_ops.domain.launch.standing import Standing

Verdict: TypeAlias = Literal["held", "missed", "unknown"]


@dataclass(frozen=True, slots=True)
class Measure:
    """How one criterion is computed; ``limits`` are the figures that the plan states for it."""

    read: Callable[[Evidence, Limits], Reading]
    limits: tuple[str, ...] = ()


CRITERIA: Mapping[str, Measure] = {
    "tests-pass": Measure(readings.read_tests),
    "transaction-refunded": Measure(readings.read_transaction),
    "portal-works": Measure(readings.read_portal),
    "no-vulnerability": Measure(readings.read_audit),
    "no-secret": Measure(readings.read_scan),
    "api-fast": Measure(readings.read_latency, ("p99_seconds",)),
    "errors-rare": Measure(readings.read_errors, ("error_rate",)),
    "available": Measure(readings.read_availability, ("availability", "hours", "coverage")),
    "delivery-instant": Measure(readings.read_delivery, ("seconds_to_licence", "seconds_to_mail")),
}


@dataclass(frozen=True, slots=True)
class Judged:
    """``entry`` is the number of the record's entry that the figure was read from; 0: of none."""

    bound: Bound
    verdict: Verdict
    figure: str
    entry: int = 0


def judge_criteria(
    plan: LaunchPlan,
    standings: Sequence[Standing],
    read: Callable[[Standing], Evidence | None],
) -> tuple[Judged, ...]:
    """Every criterion of the plan; ``read`` has what a task's newest command said."""
    return tuple(_judge(one, standings, read) for one in plan.bounds)


def _judge(
    bound: Bound,
    standings: Sequence[Standing],
    read: Callable[[Standing], Evidence | None],
) -> Judged:
    """By the newest entry of the tasks that feed it.

    Only evidence that holds can show that a criterion is held. What a failed one says can show
    that it is missed: a figure over its bound is why the command failed.
    """
    feeding = [one for one in standings if bound.id in one.task.criteria]
    told = [(one.entry.number, one) for one in feeding if one.entry is not None]
    if not told:
        return Judged(bound, "unknown", f"{', '.join(one.task.id for one in feeding)} did not run")
    number, standing = max(told, key=lambda one: one[0])
    if not standing.holds and standing.state != "failed":
        return Judged(bound, "unknown", f"the evidence of {standing.task.id} holds no more", number)
    evidence = read(standing)
    if evidence is None:
        return Judged(bound, "unknown", "what the command said is not whole any more", number)
    reading = CRITERIA[bound.id].read(evidence, bound.limits)
    if reading.met is None:
        return Judged(bound, "unknown", reading.figure, number)
    if not reading.met:
        return Judged(bound, "missed", reading.figure, number)
    if not standing.holds:
        return Judged(bound, "unknown", f"{standing.task.id} failed ({reading.figure})", number)
    return Judged(bound, "held", reading.figure, number)


def criteria_document(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """As JSON."""
    return [
        {
            "id": one.bound.id,
            "title": one.bound.title,
            "verdict": one.verdict,
            "figure": one.figure,
            "limits": dict(one.bound.limits),
            "entry": one.entry or None,
        }
        for one in judged
    ]
