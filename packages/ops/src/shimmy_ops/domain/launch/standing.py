"""Which tasks hold now, from the plan, the record and the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from shimmy_ops.domain.launch.commands import task_digest
from shimmy_ops.domain.launch.entries import Entry
from shimmy_ops.domain.launch.plan import LaunchPlan, Task

State: TypeAlias = Literal[
    "verified", "attested", "failed", "changed", "expired", "ahead", "early", "moved", "elsewhere",
    "open",
]  # fmt: skip
_AHEAD = timedelta(minutes=5)
REVISION, STORE = "revision", "store"
"""What an entry's versions call the sources, and what its task's profile leads to."""


@dataclass(frozen=True, slots=True)
class Here:
    """What evidence is held against: the sources that lie here, and where each profile leads.

    ``stores`` by a task's profile; one that cannot be read is left out. Empty: not compared.
    """

    revision: str = ""
    stores: Mapping[str, str] = field(default_factory=dict)


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


def judge_tasks(
    plan: LaunchPlan, entries: Sequence[Entry], now: datetime, here: Here = Here()
) -> tuple[Standing, ...]:
    """Every task in its order."""
    newest = {one.task: one for one in entries}
    states: dict[str, State] = {}
    for one in plan.tasks:
        entry = newest.get(one.id)
        states[one.id] = "open" if entry is None else _state(one, plan, entry, now)
        if entry is not None and states[one.id] in ("verified", "attested"):
            states[one.id] = _fits(one, entry, earliest(one, entries), here)
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


def earliest(task: Task, entries: Sequence[Entry]) -> datetime | None:
    """When it may be verified: so long after all that it names in ``after``; None: at any time."""
    if task.wait_hours is None:
        return None
    newest = {one.task: one.at for one in entries if one.task in task.after}
    return max(newest.values()) + timedelta(hours=task.wait_hours) if newest else None


def _fits(task: Task, entry: Entry, since: datetime | None, here: Here) -> State:
    """Whether what it was made of is what is launched."""
    # A rehearsal that runs something else does not wait either.
    if since is not None and entry.at < since and not entry.otherwise:
        return "early"
    if task.this_revision and here.revision and entry.versions.get(REVISION) != here.revision:
        return "moved"
    store = here.stores.get(task.profile)
    if store is not None and entry.versions.get(STORE, store) != store:
        return "elsewhere"
    return "attested" if entry.kind == "attested" else "verified"


def _state(task: Task, plan: LaunchPlan, entry: Entry, now: datetime) -> State:
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
        case "early":
            hours = f"{standing.task.wait_hours or 0:g}"
            after = ", ".join(standing.task.after)
            return f"its evidence was made less than {hours} hours after {after}"
        case "moved":
            return "its evidence is of another revision than lies here"
        case "elsewhere":
            return "its evidence is of another store or account than the profile names now"
        case "open":
            return "nothing was recorded of it yet"
        case "verified" | "attested":
            return ""
