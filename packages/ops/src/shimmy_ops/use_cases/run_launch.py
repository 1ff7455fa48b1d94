"""Run a launch's tasks in their order, until one fails or a person is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from shimmy_ops.domain.launch.commands import check_words, task_digest
from shimmy_ops.domain.launch.entries import NOTHING, Entry, Ran
from shimmy_ops.domain.launch.plan import LaunchPlan, Task
from shimmy_ops.domain.launch.record import CheckedRecord
from shimmy_ops.domain.launch.standing import Standing, earliest, judge_tasks
from shimmy_ops.errors import LaunchError
from shimmy_ops.ports.launch import LaunchDesk, RunTeller
from shimmy_ops.use_cases.read_launch_record import read_launch_record
from shimmy_ops.use_cases.record_entry import record_entry

_NOBODY_ASKED = "A rehearsal: nobody was asked."


@dataclass(frozen=True, slots=True)
class RunOrder:
    """What is wanted.

    ``through``   a task's id or a phase's number: the last that is run; empty: all
    ``only``      one task's id, run again even where it holds; empty: all
    ``act``       run also the commands that do a task, before the one that verifies it
    ``stand_in``  in a rehearsal, a name that attests whatever a person would be asked
    """

    through: str = ""
    only: str = ""
    act: bool = False
    stand_in: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """All that was asked for holds; ``ran`` tasks were run now."""

    ran: int


@dataclass(frozen=True, slots=True)
class TaskFailed:
    """A command said no, or its time was up; later tasks do not run."""

    task: Task
    entry: Entry


@dataclass(frozen=True, slots=True)
class PersonNeeded:
    """Only a person can say that this one holds."""

    task: Task


@dataclass(frozen=True, slots=True)
class TooEarly:
    """What comes before it has not held for long enough: it may run ``since`` then."""

    task: Task
    since: datetime


Outcome: TypeAlias = Finished | TaskFailed | PersonNeeded | TooEarly


def run_launch(plan: LaunchPlan, desk: LaunchDesk, order: RunOrder, teller: RunTeller) -> Outcome:
    """Tasks that hold already are not run again, unless one is named by ``order.only``.

    Every command that ran to its end is recorded, whatever it said; one that somebody stopped is
    not. Raises LaunchError, ProfileError.
    """
    if order.stand_in and not desk.rehearsal:
        raise LaunchError("launch-stand-in", "Nobody stands in for a person outside a rehearsal.")
    check_words((order.stand_in,))
    chosen = _chosen(plan, order)
    with desk.record.alone():
        record = read_launch_record(desk.record, desk.signer, rehearsal=desk.rehearsal)
        ran = 0
        while (standing := _next(plan, desk, order, chosen, record, ran)) is not None:
            _unblocked(standing)
            task = standing.task
            since = _too_early(task, desk, record)
            if since is not None:
                return TooEarly(task, since)
            if task.attested and not order.stand_in:
                return PersonNeeded(task)
            entry, record = _settle(task, plan, desk, order, record, teller)
            ran += 1
            if entry.kind == "failed":
                return TaskFailed(task, entry)
    return Finished(ran)


def _chosen(plan: LaunchPlan, order: RunOrder) -> frozenset[str]:
    """Ids of the tasks that may be run at all."""
    if order.only:
        return frozenset((plan.need(order.only).id,))
    if not order.through:
        return frozenset(one.id for one in plan.tasks)
    if order.through.isdecimal() and int(order.through) in plan.phases:
        last = int(order.through)
        return frozenset(one.id for one in plan.tasks if one.phase <= last)
    task = plan.need(order.through)
    return frozenset((*plan.before(task), task.id))


def _next(
    plan: LaunchPlan,
    desk: LaunchDesk,
    order: RunOrder,
    chosen: frozenset[str],
    record: CheckedRecord,
    ran: int,
) -> Standing | None:
    """The first of the chosen that does not hold, or the one that was named, once."""
    standings = judge_tasks(plan, record.entries, desk.clock(), desk.here())
    ours = (one for one in standings if one.task.id in chosen)
    if order.only:
        return next(ours) if ran == 0 else None
    return next((one for one in ours if not one.holds), None)


def _unblocked(standing: Standing) -> None:
    if standing.waits_for:
        raise LaunchError(
            "launch-out-of-order",
            f"{standing.task.id} waits for {', '.join(standing.waits_for)}.",
            hint="shimmy-ops launch run runs them in their order.",
        )


def _too_early(task: Task, desk: LaunchDesk, record: CheckedRecord) -> datetime | None:
    """From when on it may run; None: now. A rehearsal that runs something else does not wait."""
    if task.proof(rehearsal=desk.rehearsal) != task.verify:
        return None
    since = earliest(task, record.entries)
    return since if since is not None and desk.clock() < since else None


def _settle(
    task: Task,
    plan: LaunchPlan,
    desk: LaunchDesk,
    order: RunOrder,
    record: CheckedRecord,
    teller: RunTeller,
) -> tuple[Entry, CheckedRecord]:
    """Run the task's commands, or attest it in a rehearsal, and record what came of it."""
    place = (plan.tasks.index(task) + 1, len(plan.tasks))
    proof = task.proof(rehearsal=desk.rehearsal)
    deed = task.deed(rehearsal=desk.rehearsal) if order.act else ()
    # Both are filled before either runs: what lacks a place changes nothing.
    words = [desk.places.fill(task, one) for one in (deed, proof)]
    act = _run(task, words[0], desk, place, teller, acts=True)
    run = None
    if act is None or act.exit_code == 0:
        run = _run(task, words[1], desk, place, teller, acts=False)
    entry = Entry(
        number=0,
        previous=NOTHING,
        at=desk.clock(),
        task=task.id,
        digest=task_digest(task, plan),
        kind="failed",
        rehearsal=desk.rehearsal,
        otherwise=proof != task.verify,
        run=run,
        act=act,
        versions=desk.made_with(task),
    )
    if task.attested and (act is None or act.exit_code == 0):
        entry = replace(entry, kind="attested", by=order.stand_in, note=_NOBODY_ASKED)
    elif run is not None and run.exit_code == 0:
        entry = replace(entry, kind="verified")
    signed, after = record_entry(entry, record, desk.record, desk.signer)
    teller.ends(task, signed)
    return signed, after


def _run(
    task: Task,
    argv: Sequence[str],
    desk: LaunchDesk,
    place: tuple[int, int],
    teller: RunTeller,
    *,
    acts: bool,
) -> Ran | None:
    if not argv:
        return None
    teller.begins(task, argv, place, acts=acts)
    return desk.runner.run(argv, task.timeout_seconds, teller)
