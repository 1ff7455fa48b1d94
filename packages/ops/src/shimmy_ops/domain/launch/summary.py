"""A launch as it is shown: to a person, to a program, in a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from shimmy_ops.domain.launch.criteria import Judged, criteria_document
from shimmy_ops.domain.launch.entries import Entry
from shimmy_ops.domain.launch.plan import LaunchPlan
from shimmy_ops.domain.launch.schedule import Timeline, slot_dates, working_day
from shimmy_ops.domain.launch.standing import Standing, explain, next_task

VERIFIED, ATTESTED, FAILED, OPEN = "✓", "☐", "✗", "\N{EN DASH}"


@dataclass(frozen=True, slots=True)
class LaunchView:
    """Everything of a launch at one moment. ``key`` is its public key's fingerprint."""

    plan: LaunchPlan
    standings: tuple[Standing, ...]
    judged: tuple[Judged, ...]
    entries: tuple[Entry, ...]
    now: datetime
    rehearsal: bool
    key: str

    @property
    def following(self) -> Standing | None:
        """What is next; None where everything holds."""
        return next_task(self.standings)

    def phase(self, number: int) -> tuple[Standing, ...]:
        """The tasks of one phase."""
        return tuple(one for one in self.standings if one.task.phase == number)


def sign_of(standing: Standing) -> str:
    """Verified, attested, failed, or nothing yet that holds."""
    if standing.state == "verified":
        return VERIFIED
    if standing.state == "attested":
        return ATTESTED
    return FAILED if standing.state == "failed" else OPEN


def told_of(standing: Standing) -> str:
    """What its evidence is, or why it does not hold."""
    entry = standing.entry
    if entry is None:
        return ""
    otherwise = ", rehearsed differently" if entry.otherwise else ""
    at = said_time(entry.at)
    match standing.state:
        case "verified":
            return f"verified {at}, entry {entry.number}{otherwise}"
        case "attested":
            return f"attested by {entry.by} {at}, entry {entry.number}"
        case "failed":
            return f"{_failure(entry)} {at}, entry {entry.number}{otherwise}"
        case _:
            return explain(standing)


def _failure(entry: Entry) -> str:
    ran = entry.run or entry.act
    if ran is None:
        return "failed"
    return "time was up" if ran.exit_code is None else f"failed with exit code {ran.exit_code}"


def said_time(moment: datetime) -> str:
    """To the minute, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def status_document(view: LaunchView) -> dict[str, Any]:
    """As JSON."""
    following = view.following
    return {
        "title": view.plan.title,
        "rehearsal": view.rehearsal,
        "now": view.now.astimezone(UTC).isoformat(timespec="seconds"),
        "key": view.key,
        "entries": len(view.entries),
        "held": sum(one.holds for one in view.standings),
        "tasks": len(view.standings),
        "next": following.task.id if following else None,
        "phases": [
            {
                "number": number,
                "title": title,
                "held": all(one.holds for one in view.phase(number)),
                "tasks": [_task_document(one) for one in view.phase(number)],
            }
            for number, title in view.plan.phases.items()
        ],
        "criteria": criteria_document(view.judged),
    }


def _task_document(standing: Standing) -> dict[str, Any]:
    entry = standing.entry
    return {
        "id": standing.task.id,
        "title": standing.task.title,
        "state": standing.state,
        "holds": standing.holds,
        "kind": "attested" if standing.task.attested else "verified",
        "by": entry.by if entry and standing.state == "attested" else None,
        "entry": entry.number if entry else None,
        "at": entry.at.astimezone(UTC).isoformat(timespec="seconds") if entry else None,
        "rehearsed_differently": bool(entry and entry.otherwise),
        "waits_for": list(standing.waits_for),
        "why_not": explain(standing) or None,
    }


def timeline_document(plan: LaunchPlan, timeline: Timeline, start: date) -> dict[str, Any]:
    """As JSON; days are working days from the beginning."""
    return {
        "start": working_day(start, 0).isoformat(),
        "end": max(slot_dates(one, start)[1] for one in timeline.slots).isoformat(),
        "days": timeline.days,
        "weeks": timeline.weeks,
        "critical_path": list(timeline.path),
        "phases": [
            _phase_document(number, title, timeline, start) for number, title in plan.phases.items()
        ],
        "tasks": [
            {
                "id": one.task.id,
                "phase": one.task.phase,
                "owner": one.task.owner,
                "days": one.task.days,
                "starts": one.starts,
                "ends": one.ends,
                "slack": one.slack,
                "critical": one.critical,
                "week": one.week,
                "from": slot_dates(one, start)[0].isoformat(),
                "to": slot_dates(one, start)[1].isoformat(),
            }
            for one in timeline.slots
        ],
    }


def _phase_document(number: int, title: str, timeline: Timeline, start: date) -> dict[str, Any]:
    slots = [one for one in timeline.slots if one.task.phase == number]
    dates = [slot_dates(one, start) for one in slots]
    return {
        "number": number,
        "title": title,
        "days": max((one.ends for one in slots), default=0.0)
        - min((one.starts for one in slots), default=0.0),
        "from": min((one[0] for one in dates), default=start).isoformat(),
        "to": max((one[1] for one in dates), default=start).isoformat(),
    }


def gantt_lines(timeline: Timeline, start: date) -> Sequence[str]:
    """One line a task: a letter a working day, ``|`` between weeks, ``█`` where it is critical."""
    widest = max(len(one.task.id) for one in timeline.slots)
    days = max(1, int(timeline.days + 0.999))
    weeks = [working_day(start, 5 * at) for at in range(timeline.weeks or 1)]
    lines = [" " * (widest + 20) + "".join(f"|{one:%d.%m}" for one in weeks)]
    for one in timeline.slots:
        bar = _bar(one.starts, one.ends, one.slack, days, critical=one.critical)
        lines.append(
            f"{one.task.id:{widest}} {one.task.days:4g} d  slack {one.slack:4g}  {bar}".rstrip()
        )
    return lines


def _bar(starts: float, ends: float, slack: float, days: int, *, critical: bool) -> str:
    letters = []
    for day in range(days):
        if day % 5 == 0:
            letters.append("|")
        if day < ends and day + 1 > starts:
            letters.append("█" if critical else "▒")
        elif starts == ends and day == int(min(starts, days - 1)):
            letters.append("◆" if critical else "◇")
        else:
            letters.append("·" if ends <= day < ends + slack else " ")
    return "".join(letters)
