"""What the tests said, of which revision, and when: the JUnit XML that `make test` writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

from shimmy_ops.errors import ReleaseError

SUITE = "shimmy@"
"""`make test` names the suite so, with the revision after it."""
CHANGED = "+changed"
_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class TestsReport:
    """``revision`` is empty where the report does not tell it; ``failed`` names tests."""

    __test__ = False

    revision: str
    changed: bool
    began: datetime | None
    seconds: float
    tests: int
    skipped: int
    failed: tuple[str, ...]


def parse_report(data: bytes) -> TestsReport:
    """Raises ReleaseError.

    A report of ours has no document type; whatever has one could grow without end, and is refused
    before it is read.
    """
    if re.search(rb"<!(?:DOCTYPE|ENTITY)", data, re.IGNORECASE):
        raise _malformed("it has a document type")
    try:
        root = ElementTree.fromstring(data)  # noqa: S314 - no entities, as was just seen
    except ElementTree.ParseError as error:
        raise _malformed("it is no whole XML") from error
    suites = [root] if root.tag == "testsuite" else root.findall("testsuite")
    if not suites:
        raise _malformed("it has no test suite")
    try:
        return _read(suites)
    except (ValueError, TypeError) as error:
        raise _malformed("a number or a time in it is none") from error


def judge_report(
    report: TestsReport,
    revision: str,
    now: datetime,
    max_age: timedelta | None,
    *,
    allow_changed: bool,
    at_least: int = 1,
) -> tuple[str, ...]:
    """Why it does not show that every test of ``revision`` passed; empty if it does.

    ``at_least`` so many must have run: a run that somebody stopped, or of one folder, looks whole.
    """
    told = _problems(report, revision, now, max_age, allow_changed=allow_changed)
    return (*_too_few(report, at_least), *told)


def _too_few(report: TestsReport, at_least: int) -> Iterator[str]:
    ran = report.tests - report.skipped
    if ran <= 0:
        yield "no test ran"
    elif ran < at_least:
        yield f"{ran} tests ran, and at least {at_least} must"


def _problems(
    report: TestsReport,
    revision: str,
    now: datetime,
    max_age: timedelta | None,
    *,
    allow_changed: bool,
) -> Iterator[str]:
    if report.failed:
        more = len(report.failed) - _MOST_NAMED
        named = ", ".join(report.failed[:_MOST_NAMED])
        yield f"{len(report.failed)} failed: {named}{f' and {more} more' if more > 0 else ''}"
    if not report.revision:
        yield "it does not tell of which revision it is: make test writes one that does"
    elif report.revision != revision:
        yield f"it is of revision {report.revision[:12]}, not of {revision[:12] or 'one known'}"
    if report.changed and not allow_changed:
        yield "files were changed since that revision"
    if max_age is not None and report.began is None:
        yield "it does not tell when the tests ran"
    elif max_age is not None and report.began is not None and now - report.began > max_age:
        hours = (now - report.began).total_seconds() / 3600
        yield f"the tests ran {hours:.0f} hours ago"


def _read(suites: list[ElementTree.Element]) -> TestsReport:
    revision, changed = _revision({one.get("name", "") for one in suites})
    times = [one.get("timestamp", "") for one in suites]
    began = [_time(one) for one in times if one]
    cases = [case for one in suites for case in one.iter("testcase")]
    failed = [case for case in cases if _has(case, "failure", "error")]
    counted = [sum(int(one.get(name, 0)) for one in suites) for name in ("failures", "errors")]
    names = tuple(dict.fromkeys(f"{one.get('classname')}::{one.get('name')}" for one in failed))
    # Whatever the counts say that no case shows is a failure as well.
    unnamed = max(0, sum(counted) - len(names))
    return TestsReport(
        revision=revision,
        changed=changed,
        began=min(began) if began and len(began) == len(times) else None,
        seconds=sum(float(one.get("time", 0)) for one in suites),
        tests=sum(int(one.get("tests", 0)) for one in suites),
        skipped=sum(int(one.get("skipped", 0)) for one in suites),
        failed=(*names, *("(not named)" for _ in range(unnamed))),
    )


def _revision(names: set[str]) -> tuple[str, bool]:
    if len(names) != 1:
        return "", False
    found = re.fullmatch(rf"{SUITE}([0-9a-f]{{40}})({re.escape(CHANGED)})?", names.pop())
    return (found[1], bool(found[2])) if found else ("", False)


def _time(text: str) -> datetime:
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def _has(case: ElementTree.Element, *tags: str) -> bool:
    return any(case.find(tag) is not None for tag in tags)


def _malformed(why: str) -> ReleaseError:
    return ReleaseError(
        "tests-report-malformed",
        f"The report is none of pytest's: {why}.",
        hint="make test writes artifacts/tests.xml.",
    )
