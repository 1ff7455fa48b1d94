"""Which tasks hold now, from the plan, the record and the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from shimmy_ops.domain.launch.commands import task_digest
from shimmy_ops.domain.launch.entries import Entry
from shimmy_ops.domain.launch.plan import LaunchPlan, Task

State: TypeAlias = Literal["verified", "attested", "failed", "changed", "expired", "ahead", "open"]
_AHEAD = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Standing:
    """``entry`` is the newest of its task; ``waits_for`` are ids that must hold and do not."""

    task: Task
    state: State
    entry: Entry | None = None
    waits_for: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether later tasks may rest on it."""
        return self.state in ("verified", "attested")


def judge_tasks(plan: LaunchPlan, entries: Sequence[Entry], now: datetime) -> tuple[Standing, ...]:
    """Every task in its order."""
    newest = {one.task: one for one in entries}
    states = {one.id: _state(one, plan, newest.get(one.id), now) for one in plan.tasks}
    held = {name for name, state in states.items() if state in ("verified", "attested")}
    return tuple(
        Standing(
            one,
            states[one.id],
            newest.get(one.id),
            tuple(name for name in plan.before(one) if name not in held),
        )
        for one in plan.tasks
    )


def _state(task: Task, plan: LaunchPlan, entry: Entry | None, now: datetime) -> State:
    if entry is None:
        return "open"
    if entry.digest != task_digest(task, plan):
        return "changed"
    if entry.kind == "failed":
        return "failed"
    if entry.at > now + _AHEAD:
        return "ahead"
    if task.valid_hours is not None and now - entry.at > timedelta(hours=task.valid_hours):
        return "expired"
    return entry.kind


def next_task(standings: Sequence[Standing]) -> Standing | None:
    """The first that does not hold; None where all do."""
    return next((one for one in standings if not one.holds), None)


def explain(standing: Standing) -> str:
    """Why it does not hold, in words; empty where it does."""
    match standing.state:
        case "failed":
            return "its verification failed"
        case "changed":
            return "the plan's task has changed since: new evidence is needed"
        case "expired":
            return f"its evidence is older than {standing.task.valid_hours:g} hours"
        case "ahead":
            return "its evidence is of a time that has not come: is this clock right?"
        case "open":
            return "nothing was recorded of it yet"
        case "verified" | "attested":
            return ""
