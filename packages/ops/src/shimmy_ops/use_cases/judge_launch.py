"""What stands of a launch now: every task, and every criterion."""

from __future__ import annotations

from shimmy_ops.domain.launch.criteria import judge_criteria
from shimmy_ops.domain.launch.plan import LaunchPlan
from shimmy_ops.domain.launch.readings import Evidence
from shimmy_ops.domain.launch.standing import Standing, judge_tasks
from shimmy_ops.domain.launch.summary import LaunchView
from shimmy_ops.ports.launch import LaunchDesk, OutputShelf
from shimmy_ops.use_cases.read_launch_record import read_launch_record


def judge_launch(plan: LaunchPlan, desk: LaunchDesk) -> LaunchView:
    """Raises LaunchError where the record cannot be trusted."""
    record = read_launch_record(desk.record, desk.signer, rehearsal=desk.rehearsal)
    now = desk.clock()
    standings = judge_tasks(plan, record.entries, now, desk.here())
    judged = judge_criteria(plan, standings, lambda one: _evidence(one, desk.shelf))
    return LaunchView(
        plan, standings, judged, record.entries, now, desk.rehearsal, desk.signer.fingerprint
    )


def _evidence(standing: Standing, shelf: OutputShelf) -> Evidence | None:
    run = standing.entry.run if standing.entry is not None else None
    if run is None:
        return Evidence(None, "", "")
    said = [shelf.read(one) for one in (run.output, run.errors)]
    if said[0] is None or said[1] is None:
        return None
    output, errors = (one.decode(errors="replace") for one in said if one is not None)
    return Evidence(run.exit_code, output, errors)
