"""The timeline: earliest and latest days, slack and the critical path, by CPM."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from shimmy_ops.domain.launch.plan import LaunchPlan, Task

WEEK = 5
_CLOSE = 1e-5


@dataclass(frozen=True, slots=True)
class Slot:
    """When a task may be worked on, in working days from the beginning.

    ``slack``  working days by which it may be late without moving the end
    """

    task: Task
    starts: float
    ends: float
    slack: float

    @property
    def critical(self) -> bool:
        """Whether a day lost here is a day lost at the end."""
        return self.slack < _CLOSE

    @property
    def week(self) -> int:
        """The week that it begins in, from 1."""
        return int(self.starts + _CLOSE) // WEEK + 1


@dataclass(frozen=True, slots=True)
class Timeline:
    """``path``: ids of one chain of critical tasks from the beginning to the end."""

    slots: tuple[Slot, ...]
    days: float
    path: tuple[str, ...]

    @property
    def weeks(self) -> int:
        """How many weeks it takes, begun ones included."""
        return math.ceil((self.days - _CLOSE) / WEEK)


def plan_timeline(plan: LaunchPlan) -> Timeline:
    """Each task begins as soon as all before it are done; whoever does it is always free."""
    needs = {one.id: _needs(plan, one) for one in plan.tasks}
    ends = dict[str, float]()
    starts = dict[str, float]()
    for task in plan.tasks:
        starts[task.id] = max((ends[name] for name in needs[task.id]), default=0.0)
        ends[task.id] = starts[task.id] + task.days
    total = max(ends.values(), default=0.0)
    latest = dict.fromkeys(ends, total)
    for task in reversed(plan.tasks):
        for name in needs[task.id]:
            latest[name] = min(latest[name], latest[task.id] - task.days)
    slots = tuple(
        Slot(
            one,
            _rounded(starts[one.id]),
            _rounded(ends[one.id]),
            _rounded(max(0.0, latest[one.id] - ends[one.id])),
        )
        for one in plan.tasks
    )
    return Timeline(slots, _rounded(total), _path(slots, needs))


def _rounded(days: float) -> float:
    """Tenths of days add up to what looks like tenths."""
    return round(days, 6)


def _needs(plan: LaunchPlan, task: Task) -> tuple[str, ...]:
    return (*(one.id for one in plan.tasks if one.phase < task.phase), *task.after)


def _path(slots: Sequence[Slot], needs: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Backwards from the end, always to a critical task that ends when the next begins."""
    place = {one.task.id: at for at, one in enumerate(slots)}
    here = max(
        (one for one in slots if one.critical),
        key=lambda one: (one.ends, place[one.task.id]),
        default=None,
    )
    path = list[str]()
    while here is not None:
        path.append(here.task.id)
        start = here.starts
        before = (slots[place[name]] for name in needs[here.task.id])
        tight = (one for one in before if one.critical and abs(one.ends - start) < _CLOSE)
        here = max(tight, key=lambda one: place[one.task.id], default=None)
    return tuple(reversed(path))


def working_day(start: date, days: float) -> date:
    """The day of work number ``days`` (0: the first), Monday to Friday, from ``start`` on."""
    weekend = 7 - start.weekday() if start.weekday() >= WEEK else 0
    first = start + timedelta(days=weekend)
    whole = int(days + _CLOSE)
    weeks, rest = divmod(first.weekday() + whole, WEEK)
    return first - timedelta(days=first.weekday()) + timedelta(days=7 * weeks + rest)


def slot_dates(slot: Slot, start: date) -> tuple[date, date]:
    """The first and the last day that it is worked on."""
    last = max(slot.starts, math.ceil(slot.ends - _CLOSE) - 1)
    return working_day(start, slot.starts), working_day(start, last)
