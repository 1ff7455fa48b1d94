"""``shimmy-ops tests-report``: pytest's report of this revision, and all else refused."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_ops.cli.main import main
from shimmy_ops.domain.judging.junit_report import judge_report, parse_report
from shimmy_ops.errors import OpsError, ReleaseError

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).resolve().parents[3]
REVISION = "0123456789abcdef0123456789abcdef01234567"
NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CASE = '<testcase classname="t" name="a" />'


def report(
    inside: str = CASE,
    name: str = f"shimmy@{REVISION}",
    counts: str = 'tests="1" failures="0" errors="0" skipped="0"',
    when: str = "2026-11-26T11:00:00+00:00",
) -> bytes:
    suite = f'<testsuite name="{name}" {counts} time="1.5" timestamp="{when}">{inside}</testsuite>'
    return f'<?xml version="1.0" encoding="utf-8"?><testsuites>{suite}</testsuites>'.encode()


def judged(data: bytes, hours: float | None = None, *, changed: bool = False) -> str:
    age = None if hours is None else timedelta(hours=hours)
    found = judge_report(parse_report(data), REVISION, NOW, age, allow_changed=changed)
    return "; ".join(found)


@pytest.mark.parametrize("workers", [["-p", "xdist.plugin", "-n", "2"], []])
def test_pytest_writes_the_revision_with_and_without_workers(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, workers: list[str]
) -> None:
    # A dozen plugins take longer to load than this takes to run.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "test_it.py").write_text(
        "import pytest\ndef test_good(): pass\n"
        "@pytest.mark.skip\ndef test_left_out(): pass\n"
        "def test_other(): assert not __import__('os').path.exists('fail')\n"
    )
    given = [*workers, "-q", "-p", "no:cacheprovider", "--junitxml=out/tests.xml",
             "-o", f"junit_suite_name=shimmy@{REVISION}"]  # fmt: skip
    command = [sys.executable, "-m", "pytest", *given, "--rootdir", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    asked = ["tests-report", str(tmp_path / "out/tests.xml"), "--commit"]
    # A run that somebody stopped, or of one folder, looks whole but for its number.
    assert main([*asked, REVISION, "--at-least", "2"]) == 0
    assert main([*asked, REVISION, "--at-least", "3"]) == 1
    assert "! 2 tests ran, and at least 3 must\n" in capsys.readouterr().out
    assert main([*asked, REVISION, "--max-age-hours", "1"]) == 0
    assert capsys.readouterr().out.startswith("2 tests passed, 1 skipped, 0 failed in ")
    assert main([*asked, "f" * 40]) == 1
    assert "it is of revision 0123456789ab, not of ffffffffffff" in capsys.readouterr().out
    if workers:
        return
    (tmp_path / "fail").touch()
    assert subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode == 1
    assert main([*asked, REVISION]) == 1
    assert "1 failed: test_it::test_other" in capsys.readouterr().out


def test_make_test_names_its_report_after_what_is_checked_out() -> None:
    shown = subprocess.run(
        ["bash", str(ROOT / "scripts/revision.sh")], capture_output=True, text=True, check=True
    )
    assert parse_report(report(name=shown.stdout.strip())).revision
    line = next(one for one in (ROOT / "Makefile").read_text().splitlines() if "junitxml" in one)
    assert "artifacts/tests-running.xml" in line and "scripts/revision.sh" in line


@pytest.mark.parametrize(("code", "kept"), [(0, True), (1, True), (2, False), (130, False)])
def test_only_a_run_that_ended_leaves_a_report(tmp_path: Path, code: int, kept: bool) -> None:
    lines = (ROOT / "Makefile").read_text().splitlines()
    (line,) = [one for one in lines if "tests-running.xml" in one and "mv" in one]
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/tests-running.xml").touch()
    shell = f"(exit {code}); " + line.strip().replace("$$", "$")
    assert subprocess.run(["sh", "-c", shell], cwd=tmp_path).returncode == code
    assert (tmp_path / "artifacts/tests.xml").exists() is kept


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (report(), ""),
        (report(name="pytest"), "does not tell of which revision"),
        (report(name=f"shimmy@{REVISION}+changed"), "files were changed"),
        (report(name="shimmy@unknown"), "does not tell of which revision"),
        (report(counts='tests="0" failures="0" errors="0" skipped="0"', inside=""), "no test ran"),
        (report(counts='tests="1" failures="0" errors="0" skipped="1"'), "no test ran"),
        (report('<testcase classname="t" name="a"><error /></testcase>'), "1 failed: t::a"),
        (report('<testcase classname="t" name="a"><failure /></testcase>'), "1 failed: t::a"),
        (report(counts='tests="2" failures="0" errors="1" skipped="0"'), "1 failed: (not named)"),
        (report(when=""), "does not tell when"),
        (report(when="2026-11-26T02:00:00+00:00"), "10 hours ago"),
    ],
)
def test_whatever_does_not_show_that_all_passed_is_said(data: bytes, said: str) -> None:
    found = judged(data, 2)
    assert found == "" if not said else said in found


def test_a_changed_tree_passes_where_that_is_allowed() -> None:
    assert judged(report(name=f"shimmy@{REVISION}+changed"), changed=True) == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<testsuites>",
        b"<html />",
        b"<testsuites />",
        report(counts='tests="many"'),
        report(when="yesterday"),
        b'<!DOCTYPE x [<!ENTITY a "b">]>' + report(),
        b"<!doctype x>" + report(),
    ],
)
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(ReleaseError) as refused:
        parse_report(data)
    assert refused.value.code == "tests-report-malformed"


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: report(inside="").replace(
    b"1.5", text.encode(errors="replace"))))  # fmt: skip
def test_nothing_breaks_the_reading(data: bytes) -> None:
    try:
        parse_report(data)
    except OpsError as error:
        assert error.code == "tests-report-malformed"


def test_a_report_that_is_not_there_or_too_large(tmp_path: Path, capsys: Capture) -> None:
    assert main(["tests-report", str(tmp_path / "none.xml")]) == 1
    assert "[judged-file-unreadable]" in capsys.readouterr().err
    large = tmp_path / "large.xml"
    with large.open("wb") as file:
        file.truncate(64_000_001)
    assert main(["tests-report", str(large)]) == 1
    assert "[tests-report-too-large]" in capsys.readouterr().err
