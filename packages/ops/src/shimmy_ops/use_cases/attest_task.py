"""A person says that a task holds, by name and with a note."""

from __future__ import annotations

from dataclasses import dataclass

from shimmy_ops.domain.launch.commands import check_words, task_digest
from shimmy_ops.domain.launch.entries import NOTHING, Entry
from shimmy_ops.domain.launch.plan import LaunchPlan
from shimmy_ops.domain.launch.standing import earliest, judge_tasks
from shimmy_ops.domain.launch.summary import said_time
from shimmy_ops.errors import LaunchError
from shimmy_ops.ports.launch import LaunchDesk
from shimmy_ops.use_cases.read_launch_record import read_launch_record
from shimmy_ops.use_cases.record_entry import record_entry


@dataclass(frozen=True, slots=True)
class Attestation:
    """Who says what of which task."""

    task: str
    by: str
    note: str


def attest_task(plan: LaunchPlan, desk: LaunchDesk, said: Attestation) -> Entry:
    """Recorded and shown as attested, never as verified. Raises LaunchError."""
    task = plan.need(said.task)
    if not task.attested:
        raise LaunchError(
            "task-not-attested",
            f"{task.id} is verified by a command; nobody's word stands for that.",
            hint=f"shimmy-ops launch run --only {task.id}",
        )
    by, note = (" ".join(one.split()) for one in (said.by, said.note))
    if not by or not note:
        raise LaunchError(
            "attestation-empty",
            "An attestation needs the name of who attests, and a note of what was seen.",
            hint=f"The question is: {task.ask}",
        )
    if not f"{by}{note}".isprintable():
        raise LaunchError("attestation-unprintable", "Name and note are plain text.")
    check_words((by, note))
    with desk.record.alone():
        record = read_launch_record(desk.record, desk.signer, rehearsal=desk.rehearsal)
        now = desk.clock()
        standings = judge_tasks(plan, record.entries, now, desk.here())
        standing = next(one for one in standings if one.task.id == task.id)
        if standing.waits_for:
            raise LaunchError(
                "task-blocked",
                f"{task.id} waits for {', '.join(standing.waits_for)}.",
                hint="shimmy-ops launch status shows what is next.",
            )
        due = earliest(task, record.entries)
        if due is not None and now < due:
            raise LaunchError(
                "task-early",
                f"{task.id} may be attested from {said_time(due)} on.",
                hint=f"{', '.join(task.after)} must have held for {task.wait_hours:g} hours.",
            )
        entry = Entry(
            0, NOTHING, now, task.id, task_digest(task, plan), "attested", desk.rehearsal,
            by=by, note=note, versions=desk.made_with(task),
        )  # fmt: skip
        return record_entry(entry, record, desk.record, desk.signer)[0]
