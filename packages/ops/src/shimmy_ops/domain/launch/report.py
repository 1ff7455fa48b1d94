"""A launch's report as one document: what both of its templates show."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import date
from typing import Any

from shimmy_ops.domain.launch.criteria import criteria_document
from shimmy_ops.domain.launch.entries import Entry
from shimmy_ops.domain.launch.schedule import Slot, Timeline, slot_dates
from shimmy_ops.domain.launch.standing import Standing
from shimmy_ops.domain.launch.summary import (
    LaunchView,
    gantt_lines,
    said_time,
    sign_of,
    timeline_document,
    told_of,
)


def report_document(view: LaunchView, timeline: Timeline, start: date) -> dict[str, Any]:
    """Phases, criteria, evidence, attestations, timeline; every word fit to be shown."""
    following = view.following
    return {
        "title": view.plan.title,
        "rehearsal": view.rehearsal,
        "made": said_time(view.now),
        "key": view.key,
        "held": sum(one.holds for one in view.standings),
        "count": len(view.standings),
        "next": following.task.id if following else "",
        "phases": [
            {
                "number": number,
                "title": title,
                "held": sum(one.holds for one in view.phase(number)),
                "tasks": [_task(one) for one in view.phase(number)],
            }
            for number, title in view.plan.phases.items()
        ],
        "criteria": [
            {**one, "entry": one["entry"] or "", "limits": _limits(one["limits"])}
            for one in criteria_document(view.judged)
        ],
        "evidence": [_evidence(one) for one in view.entries if one.kind != "attested"],
        "attestations": [_attestation(one) for one in view.entries if one.kind == "attested"],
        "timeline": timeline_document(view.plan, timeline, start),
        "gantt": "\n".join(gantt_lines(timeline, start)),
        "slots": [_slot(one, timeline, start) for one in timeline.slots],
    }


def _task(standing: Standing) -> dict[str, Any]:
    task = standing.task
    otherwise = bool(standing.entry and standing.entry.otherwise)
    return {
        "sign": sign_of(standing),
        "state": standing.state,
        "id": task.id,
        "title": task.title,
        "why": task.why,
        "owner": task.owner,
        "told": told_of(standing) or "nothing was recorded of it yet",
        "otherwise": task.rehearse_why if otherwise else "",
        "proof": task.ask if task.attested else shlex.join(task.verify),
        "attested": task.attested,
    }


def _limits(limits: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in limits.items())


def _evidence(entry: Entry) -> dict[str, Any]:
    ran = entry.run or entry.act
    code = ran.exit_code if ran else None
    return {
        "number": entry.number,
        "at": said_time(entry.at),
        "task": entry.task,
        "kind": entry.kind,
        "command": shlex.join(ran.argv) if ran else "",
        "code": "time was up" if code is None else str(code),
        "seconds": f"{ran.seconds:.1f}" if ran else "",
        "output": ran.output.sha256 if ran else "",
        "size": ran.output.size if ran else 0,
        "versions": _versions(entry),
    }


def _attestation(entry: Entry) -> dict[str, Any]:
    return {
        "number": entry.number,
        "at": said_time(entry.at),
        "task": entry.task,
        "by": entry.by,
        "note": entry.note,
    }


def _versions(entry: Entry) -> str:
    return ", ".join(f"{name} {value[:12] if name == 'revision' else value}"
                     for name, value in entry.versions.items())  # fmt: skip


def _slot(slot: Slot, timeline: Timeline, start: date) -> dict[str, Any]:
    """Percentages of the whole width, for bars."""
    total = timeline.days or 1.0
    first, last = slot_dates(slot, start)
    return {
        "id": slot.task.id,
        "owner": slot.task.owner,
        "days": f"{slot.task.days:g}",
        "slack": f"{slot.slack:g}",
        "critical": slot.critical,
        "first": first.isoformat(),
        "last": last.isoformat(),
        "left": round(100 * slot.starts / total, 2),
        "width": round(max(100 * slot.task.days / total, 0.4), 2),
        "spare": round(100 * slot.slack / total, 2),
    }


def status_lines(view: LaunchView) -> Sequence[str]:
    """What a terminal shows."""
    what = " (rehearsal in the sandbox)" if view.rehearsal else ""
    lines = [f"{view.plan.title}{what}"]
    widest = max(len(one.task.id) for one in view.standings)
    for number, title in view.plan.phases.items():
        tasks = view.phase(number)
        held = sum(one.holds for one in tasks)
        lines += ["", f"Phase {number}: {title} ({held} of {len(tasks)})"]
        for one in tasks:
            lines.append(f"  {sign_of(one)} {one.task.id:{widest}}  {one.task.title}")
            told = told_of(one)
            if told:
                lines.append(f"    {'':{widest}}  {told}")
    return lines
