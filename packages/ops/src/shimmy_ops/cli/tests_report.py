"""``shimmy-ops tests-report``: did every test of this revision pass?"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

from shimmy_ops.cli.exit_codes import DONE, REFUSED
from shimmy_ops.domain.judging.junit_report import judge_report
from shimmy_ops.wiring.judging import head_revision, judging_time, tests_report


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """Which report, of which revision, how old."""
    command.add_argument("file", type=Path, metavar="FILE", help="artifacts/tests.xml of make test")
    command.add_argument("--commit", metavar="REV", help="default: what git has checked out here")
    command.add_argument("--max-age-hours", type=float, metavar="N", help="default: any age")
    command.add_argument(
        "--at-least", type=int, default=1, metavar="N", help="so many must have run; default: 1"
    )
    command.add_argument(
        "--allow-changed", action="store_true", help="files may have differed from the revision"
    )


def run(args: argparse.Namespace) -> int:
    """0 where it shows that every test passed, 1 with what it shows otherwise."""
    report = tests_report(args.file)
    age = None if args.max_age_hours is None else timedelta(hours=args.max_age_hours)
    problems = judge_report(
        report,
        args.commit or head_revision(),
        judging_time(),
        age,
        allow_changed=args.allow_changed,
        at_least=args.at_least,
    )
    for problem in problems:
        print(f"! {problem}")
    ran = report.tests - report.skipped - len(report.failed)
    told = f"{ran} tests passed, {report.skipped} skipped, {len(report.failed)} failed"
    changed = " with changes" if report.changed else ""
    print(f"{told} in {report.seconds:.0f} s, of {report.revision[:12] or 'no revision'}{changed}")
    return REFUSED if problems else DONE
