"""scripts/critical.sh: the sentence stands there when every step passed, and never otherwise."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
SENTENCE = "ALL CRITICAL TESTS PASSED"


def run(folder: Path, *lines: str) -> subprocess.CompletedProcess[str]:
    steps = folder / "steps.txt"
    steps.write_text("\n".join(["# NAME | NEEDS | COMMAND", *lines]))
    command = ["bash", str(ROOT / "scripts" / "critical.sh"), str(steps)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_all_pass(tmp_path: Path) -> None:
    done = run(tmp_path, "one | - | echo first; echo", "", "two | one | echo last | tr a-z A-Z")
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == SENTENCE
    assert re.search(r"^one +passed +\d+  first$", done.stdout, re.MULTILINE)
    assert re.search(r"^two +passed +\d+  LAST$", done.stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (("a | - | true", "b | - | false", "c | - | touch c"), "1 of 3 did not pass: b"),
        (("a | - | exit 7", "b | a | touch b", "c | - | touch c"), "2 of 3 did not pass: a b"),
        (("a | - | bash scripts/none.sh", "c | - | touch c"), "1 of 2 did not pass: a"),
        (("a | - | nosuchcommand", "c | - | touch c"), "1 of 2 did not pass: a"),
        (("a | - | :", "b | later | true", "later | - | touch c"), "1 of 3 did not pass: b"),
        (("a | - |", "c | - | touch c"), "1 of 2 did not pass: a"),
        (("a", "c | - | touch c"), "1 of 2 did not pass: a"),
        (("a | | true", "c | - | touch c"), "1 of 2 did not pass: a"),
        (("a | - | echo ALL CRITICAL 'TESTS PASSED'; false", "c | - | touch c"), "1 of 2"),
        (("a | - | kill -9 $$", "c | - | touch c"), "1 of 2 did not pass: a"),
        (("a | - | false | cat; exit ${PIPESTATUS[0]}", "c | - | touch c"), "1 of 2"),
    ],
)
def test_one_that_fails_is_named_and_hides_no_other(
    tmp_path: Path, lines: tuple[str, ...], named: str
) -> None:
    done = run(tmp_path, *lines)
    assert done.returncode == 1
    assert SENTENCE not in done.stdout + done.stderr
    assert named in done.stderr
    assert (tmp_path / "c").exists() and not (tmp_path / "b").exists()


def test_no_order_to_make_or_pytest_comes_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make -i gate`, and a shell where pytest was told to run less."""
    (tmp_path / "Makefile").write_text("test:\n\tfalse\n")
    monkeypatch.setenv("MAKEFLAGS", "i")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--collect-only")
    done = run(tmp_path, "a | - | make test", 'b | - | test -z "$PYTEST_ADDOPTS"')
    assert (done.returncode, SENTENCE in done.stdout) == (1, False)
    assert "1 of 2 did not pass: a" in done.stderr


def test_without_steps_nothing_passed(tmp_path: Path) -> None:
    assert run(tmp_path).returncode == 1
    missing = ["bash", str(ROOT / "scripts" / "critical.sh"), "nowhere.txt"]
    done = subprocess.run(missing, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and SENTENCE not in done.stdout


def test_stopped_nothing_is_known(tmp_path: Path) -> None:
    done = run(tmp_path, "a | - | true", "b | - | kill -INT $PPID; sleep 1", "c | - | true")
    assert done.returncode == 130 and SENTENCE not in done.stdout


@settings(max_examples=6)
@given(st.lists(st.booleans(), min_size=1, max_size=5))
def test_the_sentence_is_true(
    tmp_path_factory: pytest.TempPathFactory, outcomes: list[bool]
) -> None:
    lines = [f"s{at} | - | {'true' if good else 'false'}" for at, good in enumerate(outcomes)]
    done = run(tmp_path_factory.mktemp("steps"), *lines)
    assert (SENTENCE in done.stdout) is all(outcomes)
    assert (done.returncode == 0) is all(outcomes)


def test_the_gate_has_every_step_and_both_scripts_run_the_same() -> None:
    lines = (ROOT / "scripts" / "critical_steps.txt").read_text().splitlines()
    steps = [line.split("|")[0].strip() for line in lines if line and line[0] != "#"]
    assert steps == [
        "demo", "tests", "report", "secrets", "audit", "licences", "site", "rollback",
        "runbooks", "launch", "clean",
    ]  # fmt: skip
    for script in ("gate.sh", "dev-test.sh"):
        text = (ROOT / "scripts" / script).read_text()
        assert text.rstrip().endswith("bash scripts/critical.sh") and SENTENCE not in text
