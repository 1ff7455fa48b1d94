"""``shimmy-ops launch``: the launch plan, its phases in order, each task verified or attested."""

from __future__ import annotations

import argparse
import json
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from shimmy_ops.cli.exit_codes import DONE, PENDING, REFUSED
from shimmy_ops.cli.launch_teller import TerminalTeller
from shimmy_ops.cli.profile import add_profile
from shimmy_ops.domain.launch.criteria import Judged, criteria_document
from shimmy_ops.domain.launch.plan import Task
from shimmy_ops.domain.launch.report import report_document, status_lines
from shimmy_ops.domain.launch.schedule import plan_timeline
from shimmy_ops.domain.launch.summary import (
    OPEN,
    LaunchView,
    gantt_lines,
    said_time,
    status_document,
    timeline_document,
)
from shimmy_ops.errors import LaunchError
from shimmy_ops.use_cases.attest_task import Attestation, attest_task
from shimmy_ops.use_cases.judge_launch import judge_launch
from shimmy_ops.use_cases.run_launch import (
    Finished,
    PersonNeeded,
    RunOrder,
    TaskFailed,
    TooEarly,
    run_launch,
)
from shimmy_ops.use_cases.verify_launch import verify_launch
from shimmy_ops.wiring.launch import (
    LaunchOrder,
    launch_clock,
    open_launch,
    read_launch_plan,
    write_report,
)


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """Seven actions on one launch."""
    actions = command.add_subparsers(dest="action", required=True)
    run = _action(actions, "run", "run what is next, until one fails or a person is needed")
    run.add_argument("--through", default="", metavar="TASK|PHASE", help="the last that is run")
    run.add_argument("--only", default="", metavar="TASK", help="this one, also where it holds")
    run.add_argument("--act", action="store_true", help="also run the commands that do a task")
    run.add_argument(
        "--stand-in", default="", metavar="NAME", help="rehearsal: attest in this name, unasked"
    )
    attest = _action(actions, "attest", "a person says that a task holds")
    attest.add_argument("task", metavar="TASK")
    attest.add_argument("--by", required=True, metavar="NAME", help="who says so")
    attest.add_argument("--note", required=True, metavar="TEXT", help="what was seen, and where")
    status = _action(actions, "status", "the phases, and what is next")
    timeline = _action(actions, "timeline", "weeks, critical path and slack")
    criteria = _action(actions, "criteria", "what the launch must reach, computed")
    criteria.add_argument("--require-all", action="store_true", help="1 where one is not held")
    criteria.add_argument(
        "--allow-unknown", default="", metavar="ID,…", help="of these it may be unknown"
    )
    verify = _action(actions, "verify", "whether the record is whole and signed")
    report = _action(actions, "report", "everything on one page; Markdown on stdout, or files")
    report.add_argument("--markdown", type=Path, metavar="FILE")
    report.add_argument("--html", type=Path, metavar="FILE")
    for one in (timeline, report):
        one.add_argument("--start", type=_day, metavar="YYYY-MM-DD", help="default: today")
    for one in (status, timeline, criteria, verify):
        one.add_argument("--json", action="store_true", help="machine-readable, on stdout")


def _action(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str
) -> argparse.ArgumentParser:
    action = actions.add_parser(name, help=what)
    add_profile(action)
    action.add_argument("--rehearse", action="store_true", help="what profile sandbox always is")
    action.add_argument("--plan", type=Path, metavar="FILE", help="default: the packed plan")
    action.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a variable of the plan"
    )
    action.add_argument("--root", type=Path, metavar="FOLDER", help="where commands run")
    return action


def _day(text: str) -> date:
    """Years that a timeline can be counted on from."""
    day = date.fromisoformat(text)
    if not 1900 <= day.year <= 9000:
        raise argparse.ArgumentTypeError(f"{text} is no day that a launch begins on")
    return day


def run(args: argparse.Namespace) -> int:
    """As each action says."""
    actions = {
        "run": _run,
        "attest": _attest,
        "status": _status,
        "timeline": _timeline,
        "criteria": _criteria,
        "verify": _verify,
        "report": _report,
    }
    return actions[args.action](args, _order(args))


def _order(args: argparse.Namespace) -> LaunchOrder:
    """Raises LaunchError for a profile that no launch has, or a variable without a value."""
    if args.profile == "test" or (args.rehearse and args.profile != "sandbox"):
        raise LaunchError(
            "launch-profile-wrong",
            "A launch is of profile live, also while it works in test mode; a rehearsal is of "
            "profile sandbox.",
            hint="The plan says which of its tasks work on test and which on live.",
        )
    wrong = [one for one in args.set if not one.partition("=")[0] or "=" not in one]
    if wrong:
        raise LaunchError("launch-variable-malformed", "--set takes NAME=VALUE.")
    overrides = {name: value for name, _, value in (one.partition("=") for one in args.set)}
    return LaunchOrder(args.config, args.profile, args.plan, overrides, args.root)


def _run(args: argparse.Namespace, order: LaunchOrder) -> int:
    """0 when all that was asked for holds, 1 when one failed, 3 for a person or a time to come."""
    plan = read_launch_plan(order)
    desk = open_launch(order, plan, writes=True)
    wanted = RunOrder(args.through, args.only, args.act, args.stand_in)
    with _stopped_by_term():
        outcome = run_launch(plan, desk, wanted, TerminalTeller())
    match outcome:
        case Finished(ran):
            print(f"{ran} run now; all that was asked for holds")
            return DONE
        case TaskFailed(task, entry):
            print(
                f"✗ {task.id} failed (entry {entry.number}); later tasks do not run until it "
                f"holds.\n  {task.do}",
                file=sys.stderr,
            )
            return REFUSED
        case PersonNeeded(task):
            print(f"☐ {task.id}: {task.title}\n  {task.do}\n  {task.ask}\n  {_asked(task, order)}")
            return PENDING
        case TooEarly(task, since):
            print(
                f"{OPEN} {task.id}: {task.title}\n  It may run from {said_time(since)} on: "
                f"{', '.join(task.after)} must have held for {task.wait_hours:g} hours."
            )
            return PENDING


@contextmanager
def _stopped_by_term() -> Iterator[None]:
    """SIGTERM ends what runs as Ctrl-C does: the command is not left behind."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _asked(task: Task, order: LaunchOrder) -> str:
    words = ["shimmy-ops", "launch", "attest", task.id, "--profile", order.profile]
    words += ["--config", str(order.config), *order.given]
    return f"{shlex.join(words)} --by NAME --note TEXT"


def _attest(args: argparse.Namespace, order: LaunchOrder) -> int:
    """0; it is recorded."""
    plan = read_launch_plan(order)
    desk = open_launch(order, plan, writes=True)
    entry = attest_task(plan, desk, Attestation(args.task, args.by, args.note))
    print(f"☐ {entry.task} attested by {entry.by} (entry {entry.number})")
    return DONE


def _view(order: LaunchOrder) -> LaunchView:
    plan = read_launch_plan(order)
    return judge_launch(plan, open_launch(order, plan, writes=False))


def _status(args: argparse.Namespace, order: LaunchOrder) -> int:
    """0, whatever holds."""
    view = _view(order)
    if args.json:
        print(json.dumps(status_document(view), indent=2, ensure_ascii=False))
        return DONE
    for line in status_lines(view):
        print(line)
    following = view.following
    print()
    if following is None:
        print("Everything holds.")
    elif following.task.attested:
        print(f"Next: {following.task.id}\n  {following.task.ask}")
        print(f"  {_asked(following.task, order)}")
    else:
        print(f"Next: {following.task.id}\n  {following.task.do}")
    return DONE


def _timeline(args: argparse.Namespace, order: LaunchOrder) -> int:
    """0; working days, whatever was done already."""
    plan = read_launch_plan(order)
    timeline, start = plan_timeline(plan), args.start or launch_clock().date()
    document = timeline_document(plan, timeline, start)
    if args.json:
        print(json.dumps(document, indent=2, ensure_ascii=False))
        return DONE
    print(f"{timeline.days:g} working days in {timeline.weeks} weeks, ", end="")
    print(f"{document['start']} to {document['end']}")
    for phase in document["phases"]:
        print(f"Phase {phase['number']}: {phase['title']}, {phase['days']:g} days, ", end="")
        print(f"{phase['from']} to {phase['to']}")
    print(f"Critical path: {' → '.join(timeline.path)}\n")
    for line in gantt_lines(timeline, start):
        print(line)
    return DONE


def _criteria(args: argparse.Namespace, order: LaunchOrder) -> int:
    """1 with --require-all where one is not held; 0 otherwise."""
    judged = _view(order).judged
    allowed = {one for one in args.allow_unknown.split(",") if one}
    strangers = allowed - {one.bound.id for one in judged}
    if strangers:
        raise LaunchError("criterion-unknown", f"No criterion is called {min(strangers)}.")
    missing = [one for one in judged if not _suffices(one, allowed)]
    if args.json:
        print(json.dumps(criteria_document(judged), indent=2, ensure_ascii=False))
    else:
        for one in judged:
            entry = f" (entry {one.entry})" if one.entry else ""
            print(f"{one.verdict:8}{one.bound.title}: {one.figure}{entry}")
        held = sum(one.verdict == "held" for one in judged)
        print(f"{held} of {len(judged)} held")
    return REFUSED if args.require_all and missing else DONE


def _suffices(judged: Judged, allowed: set[str]) -> bool:
    unknown = judged.verdict == "unknown" and judged.bound.id in allowed
    return judged.verdict == "held" or unknown


def _verify(args: argparse.Namespace, order: LaunchOrder) -> int:
    """1 where anything was tampered with; an end that a crash left is mended by the next entry."""
    plan = read_launch_plan(order)
    desk = open_launch(order, plan, writes=False)
    checked = verify_launch(desk)
    if args.json:
        document = {
            "whole": not checked.problems,
            "entries": len(checked.entries),
            "key": desk.signer.fingerprint,
            "torn_bytes": checked.torn,
            "problems": list(checked.problems),
        }
        print(json.dumps(document, indent=2))
    else:
        for problem in checked.problems:
            print(f"✗ {problem}")
        if checked.torn:
            print(f"! {checked.torn} bytes at the end were never finished: a crash left them, and "
                  "the next entry takes their place")  # fmt: skip
        if not checked.problems:
            print(f"{len(checked.entries)} entries, whole, signed with {desk.signer.fingerprint}")
    return REFUSED if checked.problems else DONE


def _report(args: argparse.Namespace, order: LaunchOrder) -> int:
    """0, whatever holds."""
    view = _view(order)
    start = args.start or (view.entries[0].at if view.entries else view.now).date()
    document = report_document(view, plan_timeline(view.plan), start)
    text = write_report(document, args.markdown, args.html)
    written = [one for one in (args.markdown, args.html) if one is not None]
    for path in written:
        print(f"written: {path}", file=sys.stderr)
    if not written:
        print(text, end="")
    return DONE
