"""``shimmy-ops launch`` as the operator uses it: in order, proved, signed, stopped, shown."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from launch_stage import PYTHON, Stage, open_stage, task

from shimmy_ops.adapters.launch.output_files import LARGEST
from shimmy_ops.cli.launch_teller import TerminalTeller
from shimmy_ops.cli.main import main
from shimmy_ops.domain.launch.standing import judge_tasks
from shimmy_ops.errors import LaunchError, OpsError
from shimmy_ops.use_cases.attest_task import Attestation, attest_task
from shimmy_ops.use_cases.read_launch_record import read_launch_record
from shimmy_ops.use_cases.run_launch import (
    Finished,
    PersonNeeded,
    RunOrder,
    TaskFailed,
    TooEarly,
    run_launch,
)

Capture = pytest.CaptureFixture[str]
EXISTS = "import pathlib, sys; sys.exit(0 if pathlib.Path('{root}/good').exists() else 4)"
GATED = ["{python}", "-c", EXISTS]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return open_stage(tmp_path)


def entries(stage: Stage) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stage.record.read_text().splitlines()]


def status(stage: Stage, capsys: Capture) -> dict[str, Any]:
    capsys.readouterr()
    assert stage.run("status", "--json") == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def states(stage: Stage, capsys: Capture) -> list[str]:
    return [one["state"] for phase in status(stage, capsys)["phases"] for one in phase["tasks"]]


def test_a_whole_launch_from_the_first_task_to_the_last(stage: Stage, capsys: Capture) -> None:
    stage.write(task("a"), task("b", ask="Is it so?"), task("c", 2))
    assert stage.run("run") == 3
    said = capsys.readouterr().out
    assert "a done\n" in said
    asked = next(line for line in said.splitlines() if "launch attest b" in line)
    assert asked.endswith("--by NAME --note TEXT")
    assert "--profile sandbox" in asked and str(stage.plan_file) in asked
    assert stage.run("attest", "b", "--by", "Ada Lovelace", "--note", "seen\nat noon") == 0
    assert stage.run("run") == 0
    assert states(stage, capsys) == ["verified", "attested", "verified"]
    first, second, third = entries(stage)
    assert (first["kind"], first["number"], first["rehearsal"]) == ("verified", 1, True)
    assert first["run"]["argv"] == [PYTHON, "-c", "print('a done')"]
    assert (first["run"]["exit_code"], first["run"]["output"]["size"]) == (0, 7)
    assert set(first["versions"]) == {"shimmy-ops", "python", "revision"}
    assert (second["kind"], second["by"], second["note"]) == (
        "attested", "Ada Lovelace", "seen at noon"
    )  # fmt: skip
    assert third["task"] == "c"
    kept = stage.launch / "output" / f"{first['run']['output']['sha256']}.txt"
    assert kept.read_text() == "a done\n"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stage.run("verify") == 0


def test_what_holds_is_not_run_again_unless_it_is_named(stage: Stage) -> None:
    stage.write(task("a"), task("b"))
    assert stage.run("run", "--through", "a") == 0
    assert [one["task"] for one in entries(stage)] == ["a"]
    assert stage.run("run") == 0
    assert stage.run("run") == 0
    assert stage.run("run", "--only", "a") == 0
    assert [one["task"] for one in entries(stage)] == ["a", "b", "a"]


def test_through_a_phase_stops_at_its_end(stage: Stage) -> None:
    stage.write(task("a"), task("b"), task("c", 2))
    assert stage.run("run", "--through", "1") == 0
    assert [one["task"] for one in entries(stage)] == ["a", "b"]
    assert stage.run("run", "--through", "9") == 1


def test_a_later_task_is_refused_until_the_earlier_ones_hold(stage: Stage, capsys: Capture) -> None:
    stage.write(task("a"), task("free", after=[]), task("b", after=["a"]), task("c", 2, after=[]))
    assert stage.run("run", "--only", "c") == 1
    assert "c waits for a, free, b. [launch-out-of-order]" in capsys.readouterr().err
    assert not stage.record.exists()
    assert stage.run("run", "--only", "free") == 0
    assert stage.run("run", "--only", "b") == 1
    assert "b waits for a." in capsys.readouterr().err


def test_a_failed_task_stops_the_run_and_blocks_what_is_after_it(
    stage: Stage, capsys: Capture
) -> None:
    (stage.folder / "good").touch()
    stage.write(task("a", verify=GATED), task("b"), task("c", 2))
    assert stage.run("run", "--through", "b") == 0
    (stage.folder / "good").unlink()
    assert stage.run("run", "--only", "a") == 1
    assert stage.run("run", "--only", "b") == 1
    assert stage.run("run") == 1
    assert states(stage, capsys) == ["failed", "verified", "open"]
    (stage.folder / "good").touch()
    assert stage.run("run") == 0
    assert states(stage, capsys) == ["verified", "verified", "verified"]
    codes = [one["run"]["exit_code"] for one in entries(stage)]
    assert codes == [0, 0, 4, 4, 0, 0]


def test_what_does_a_task_is_run_only_where_that_is_asked_for(stage: Stage) -> None:
    make = ["{python}", "-c", "open('{root}/good', 'w').close()"]
    stage.write(task("a", act=make, verify=GATED))
    assert stage.run("run") == 1
    assert stage.run("run", "--act") == 0
    assert entries(stage)[1]["act"]["exit_code"] == 0


def test_what_could_not_be_done_is_not_verified(stage: Stage) -> None:
    stage.write(task("a", act=["{python}", "-c", "raise SystemExit(9)"]))
    assert stage.run("run", "--act") == 1
    (found,) = entries(stage)
    assert (found["kind"], found["act"]["exit_code"], found["run"]) == ("failed", 9, None)


def test_changed_tasks_need_new_evidence(stage: Stage, capsys: Capture) -> None:
    stage.write(task("a"), task("b", ask="Is it so?"))
    assert stage.run("run", "--stand-in", "the gate") == 0
    assert "☐ b attested by the gate" in capsys.readouterr().out
    stage.write(task("a", title="Another title"), task("b", ask="Is it so?", days=7))
    assert states(stage, capsys) == ["verified", "attested"]
    stage.write(task("a", verify=["{python}", "-c", "1"]), task("b", ask="Is it really so?"))
    assert states(stage, capsys) == ["changed", "changed"]


def test_old_evidence_holds_no_more(stage: Stage) -> None:
    stage.write(task("a", valid_hours=24), task("b"))
    plan, desk = stage.desk()
    assert run_launch(plan, desk, RunOrder(through="a"), TerminalTeller()) == Finished(1)
    made = desk.clock()

    def after(hours: float) -> list[str]:
        record = read_launch_record(desk.record, desk.signer, rehearsal=True)
        return [
            one.state for one in judge_tasks(plan, record.entries, made + timedelta(hours=hours))
        ]

    assert after(23.9) == ["verified", "open"]
    assert after(24.1) == ["expired", "open"]
    assert after(-1) == ["ahead", "open"]
    late = replace(desk, clock=lambda: made + timedelta(hours=30))
    with pytest.raises(LaunchError) as refused:
        run_launch(plan, late, RunOrder(only="b"), TerminalTeller())
    assert refused.value.code == "launch-out-of-order"
    assert run_launch(plan, late, RunOrder(), TerminalTeller()) == Finished(2)


def test_a_watch_begins_when_what_it_watches_does(stage: Stage, capsys: Capture) -> None:
    """A day that is looked at right after the announcement is the day before it."""
    stage.write(task("open", ask="Is it?"), task("watch", wait_hours=24), task("end"))
    assert stage.run("attest", "open", "--by", "Ada", "--note", "seen") == 0
    capsys.readouterr()
    assert stage.run("run") == 3
    assert "watch: Do watch\n  It may run from " in capsys.readouterr().out
    assert stage.run("run", "--only", "watch") == 3
    assert len(entries(stage)) == 1
    plan, desk = stage.desk()
    opened = desk.clock()
    outcome = run_launch(plan, desk, RunOrder(), TerminalTeller())
    assert isinstance(outcome, TooEarly) and outcome.since > opened + timedelta(hours=23.9)
    late = replace(desk, clock=lambda: opened + timedelta(hours=24.1))
    assert run_launch(plan, late, RunOrder(), TerminalTeller()) == Finished(2)
    # Announced again, later: the watch is of another day than the one that counts.
    again = replace(desk, clock=lambda: opened + timedelta(hours=30))
    attest_task(plan, again, Attestation("open", "Ada", "now really"))
    record = read_launch_record(desk.record, desk.signer, rehearsal=True)
    states = [one.state for one in judge_tasks(plan, record.entries, opened + timedelta(hours=31))]
    assert states == ["attested", "early", "verified"]


def test_a_rehearsal_that_runs_something_else_does_not_wait(stage: Stage, capsys: Capture) -> None:
    other = ["{python}", "-c", "1"]
    watch = task("watch", wait_hours=24, rehearse=other, rehearse_why="no day to spend")
    stage.write(task("open"), watch)
    assert stage.run("run") == 0
    assert states(stage, capsys) == ["verified", "verified"]


def test_a_person_says_nothing_too_early_either(stage: Stage, capsys: Capture) -> None:
    stage.write(task("open"), task("quiet", ask="Was it quiet?", wait_hours=24))
    assert stage.run("run") == 3
    assert stage.run("attest", "quiet", "--by", "Ada", "--note", "yes") == 1
    assert "[task-early]" in capsys.readouterr().err
    assert len(entries(stage)) == 1


def commit(stage: Stage, word: str) -> None:
    (stage.folder / "source").write_text(word)
    git = ["git", "-C", str(stage.folder), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", "source"], ["commit", "-q", "-m", word]):
        subprocess.run([*git, *words], check=True)


def test_evidence_of_another_revision_proves_nothing_where_that_counts(
    stage: Stage, capsys: Capture
) -> None:
    stage.write(
        task("a", this_revision=True, criteria=["tests-pass"]), task("b"),
        criteria={"tests-pass": {"title": "Tests pass"}},
    )  # fmt: skip
    commit(stage, "one")
    assert stage.run("run") == 0
    assert status(stage, capsys)["criteria"][0]["verdict"] == "held"
    (stage.folder / "source").write_text("two")
    assert states(stage, capsys) == ["moved", "verified"]
    commit(stage, "two")
    found = status(stage, capsys)
    assert found["next"] == "a"
    assert found["criteria"][0]["verdict"] == "unknown"
    assert stage.run("run") == 0
    assert states(stage, capsys) == ["verified", "verified"]


def test_evidence_of_another_store_proves_nothing(stage: Stage, capsys: Capture) -> None:
    stage.write(task("a", profile="live"), task("b", profile="live", ask="?"), task("c"))
    assert stage.run("run", "--stand-in", "the gate") == 0
    assert states(stage, capsys) == ["verified", "attested", "verified"]
    text = stage.config.read_text()
    stage.config.write_text(text.replace(":8400", ":8500"))
    assert states(stage, capsys) == ["elsewhere", "elsewhere", "verified"]
    assert stage.run("status") == 0
    assert "of another store or account than the profile names now" in capsys.readouterr().out
    stage.config.write_text(text)
    assert states(stage, capsys) == ["verified", "attested", "verified"]


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (Attestation("v", "Ada", "seen"), "task-not-attested"),
        (Attestation("p", " ", "seen"), "attestation-empty"),
        (Attestation("p", "Ada", "\n"), "attestation-empty"),
        (Attestation("p", "Ada", "\x1b[2J"), "attestation-unprintable"),
        (Attestation("p", "Ada", "the key is sk_" + "live_abcdefgh12"), "secret-in-record"),
        (Attestation("late", "Ada", "seen"), "task-blocked"),
        (Attestation("pp", "Ada", "seen"), "task-unknown"),
    ],
)
def test_attestations_that_say_nothing_are_refused(
    stage: Stage, said: Attestation, code: str
) -> None:
    stage.write(task("p", ask="So?"), task("v"), task("late", ask="Then?"))
    plan, desk = stage.desk()
    with pytest.raises(LaunchError) as refused:
        attest_task(plan, desk, said)
    assert refused.value.code == code
    assert not stage.record.exists()
    assert isinstance(run_launch(plan, desk, RunOrder(), TerminalTeller()), PersonNeeded)


def test_nobody_stands_in_for_a_person_outside_a_rehearsal(stage: Stage) -> None:
    stage.write(task("p", ask="So?"))
    plan, desk = stage.desk()
    with pytest.raises(LaunchError, match="outside a rehearsal"):
        run_launch(plan, replace(desk, rehearsal=False), RunOrder(stand_in="x"), TerminalTeller())


def test_a_rehearsal_says_what_it_did_otherwise(stage: Stage, capsys: Capture) -> None:
    other: dict[str, Any] = {"rehearse": ["{python}", "-c", "1"], "rehearse_why": "No DNS here."}
    stage.write(task("a", verify=["{python}", "-c", "raise SystemExit(1)"], **other))
    assert stage.run("run", "--rehearse") == 0
    assert "rehearsed differently: No DNS here." in capsys.readouterr().out
    assert status(stage, capsys)["phases"][0]["tasks"][0]["rehearsed_differently"] is True
    assert stage.run("report") == 0
    assert "No DNS here." in capsys.readouterr().out


@pytest.mark.parametrize("words", [("test",), ("live", "--rehearse")])
def test_a_launch_is_live_and_a_rehearsal_is_in_the_sandbox(
    stage: Stage, words: tuple[str, ...], capsys: Capture
) -> None:
    stage.write(task("a"))
    argv = stage.argv("status")
    argv[argv.index("sandbox")] = words[0]
    done = subprocess.run(
        [str(Path(sys.executable).parent / "shimmy-ops"), *argv, *words[1:]],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "launch-profile-wrong" in done.stderr


def test_a_changed_record_stops_everything(stage: Stage, capsys: Capture) -> None:
    stage.write(task("a"), task("b"))
    stage.run("run", "--through", "a")
    stage.record.write_bytes(stage.record.read_bytes().replace(b'"exit_code":0', b'"exit_code":1'))
    for words in (("run",), ("status",), ("criteria",), ("report",)):
        assert stage.run(*words) == 1
        assert "[launch-record-tampered]" in capsys.readouterr().err
    assert stage.run("verify") == 1
    assert "✗ line 1: its signature is not for what it says" in capsys.readouterr().out


def test_an_output_that_was_changed_is_found(stage: Stage, capsys: Capture) -> None:
    stage.write(task("a"))
    stage.run("run")
    (found,) = entries(stage)
    output = stage.launch / "output" / f"{found['run']['output']['sha256']}.txt"
    output.write_text("b done\n")
    assert stage.run("verify", "--json") == 1
    told = json.loads(capsys.readouterr().out.partition("holds\n")[2])
    assert told["whole"] is False
    assert "is gone, or not what the command said" in told["problems"][0]


def test_a_record_without_its_key_is_not_begun_anew(stage: Stage, capsys: Capture) -> None:
    stage.write(task("a"))
    stage.run("run")
    (stage.folder / "shimmy-secrets/sandbox/launch-key").unlink()
    for words in (("run",), ("status",)):
        assert stage.run(*words) == 1
        assert "[launch-key-missing]" in capsys.readouterr().err


def test_nothing_is_made_by_looking(stage: Stage) -> None:
    stage.write(task("a"))
    for words in (("status",), ("timeline",), ("criteria",), ("verify",)):
        assert stage.run(*words) == 0
    assert not (stage.folder / "shimmy-secrets").exists()
    assert not (stage.folder / "shimmy-state").exists()


def test_a_second_run_at_once_is_told_to_wait(stage: Stage, capsys: Capture) -> None:
    stage.write(task("a"))
    _, desk = stage.desk()
    with desk.record.alone():
        assert stage.run("run") == 75
        assert "[launch-busy]" in capsys.readouterr().err
        assert stage.run("status") == 0


def test_time_that_is_up_is_a_failure_and_ends_all_that_was_begun(stage: Stage) -> None:
    begun = (
        "import subprocess, sys, pathlib, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "pathlib.Path('{root}/child').write_text(str(child.pid))\n"
        "print('began', flush=True)\n"
        "time.sleep(60)"
    )
    stage.write(task("a", verify=["{python}", "-c", begun], timeout_seconds=3))
    plan, desk = stage.desk()
    outcome = run_launch(plan, desk, RunOrder(), TerminalTeller())
    assert isinstance(outcome, TaskFailed)
    (found,) = entries(stage)
    assert (found["kind"], found["run"]["exit_code"]) == ("failed", None)
    assert found["run"]["output"]["size"] == 6
    assert gone(int((stage.folder / "child").read_text()))


def gone(pid: int) -> bool:
    """Whether the process ends soon; by itself it would not for a minute."""
    for _ in range(600):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # It may have ended since that.
        with suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        time.sleep(0.05)
    return False


def test_of_much_output_the_beginning_and_the_end_are_kept(stage: Stage) -> None:
    loud = "import sys; sys.stdout.write('first' + 'x' * 3_000_000 + 'last')"
    stage.write(task("a", verify=["{python}", "-c", loud]))
    assert stage.run("run") == 0
    (found,) = entries(stage)
    output = found["run"]["output"]
    assert (output["size"], output["whole"]) == (3_000_009, False)
    kept = (stage.launch / "output" / f"{output['sha256']}.txt").read_text()
    assert kept.startswith("first") and kept.endswith("last")
    assert "bytes are left out here" in kept
    assert len(kept) < LARGEST + 200
    assert stage.run("verify") == 0


@pytest.mark.parametrize(
    ("verify", "code"),
    [
        (["no-such-program"], "launch-command-missing"),
        (["./plan.toml"], "launch-command-unrunnable"),
        (["echo", "{word}"], "launch-place-empty"),
        (["echo", "--api-key=x"], "secret-in-record"),
    ],
)
def test_what_cannot_be_run_is_said_and_not_recorded(
    stage: Stage, verify: list[str], code: str
) -> None:
    stage.write(task("a", verify=verify), variables={"word": ""})
    plan, desk = stage.desk()
    with pytest.raises(OpsError) as refused:
        run_launch(plan, desk, RunOrder(), TerminalTeller())
    assert refused.value.code == code
    assert not stage.record.exists()


def test_a_variable_is_set_for_the_command_and_for_commands_in_it(stage: Stage) -> None:
    shown = ["{python}", "-c", "import sys; print(sys.argv[1:])", "{word}", "{set}"]
    stage.write(task("a", verify=shown), variables={"word": ""})
    assert stage.run("run", "--set", "word=hello") == 0
    argv = entries(stage)[0]["run"]["argv"]
    assert argv[3:6] == ["hello", "--set", "word=hello"]
    assert argv[6:] == ["--plan", str(stage.plan_file), "--root", str(stage.folder)]


STOPPABLE = (
    "import pathlib, sys, time\n"
    "pathlib.Path('{root}/pid').write_text(str(__import__('os').getpid()))\n"
    "print('working', flush=True)\n"
    "time.sleep(60)"
)
STOPPABLE_ARGV = ["{python}", "-c", STOPPABLE]


def hears_ctrl_c() -> None:
    """Whoever starts the tests in the background has Ctrl-C ignored in all they start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_ends_its_command_and_records_nothing(
    stage: Stage, sent: signal.Signals
) -> None:
    stage.write(task("a"), task("b", verify=STOPPABLE_ARGV))
    running = subprocess.Popen(
        [str(Path(sys.executable).parent / "shimmy-ops"), *stage.argv("run")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
        start_new_session=True, preexec_fn=hears_ctrl_c,
    )  # fmt: skip
    assert running.stdout is not None
    heard: list[str] = []
    try:
        # Its last words before it sleeps; by then its number is written down, too.
        for line in running.stdout:
            heard.append(line)
            if line == "working\n":
                break
        os.killpg(running.pid, sent)
        _, err = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 130, err
    assert heard[-1:] == ["working\n"]
    assert "shimmy-ops: stopped" in err
    assert [one["task"] for one in entries(stage)] == ["a"]
    assert gone(int((stage.folder / "pid").read_text()))
    assert stage.run("verify") == 0
    stage.write(task("a"), task("b"))
    assert stage.run("run") == 0


def test_at_a_terminal_a_command_may_ask_and_hears_ctrl_c(stage: Stage) -> None:
    asks = "print('answer:', input('Sure? '), flush=True)"
    stage.write(task("a", verify=["{python}", "-c", asks]), task("b", verify=STOPPABLE_ARGV))
    argv = [str(Path(sys.executable).parent / "shimmy-ops"), *stage.argv("run")]
    pid, terminal = pty.fork()
    if pid == 0:
        hears_ctrl_c()
        os.execv(argv[0], argv)  # noqa: S606
    try:
        heard = hear(terminal, b"\nSure? ")
        os.write(terminal, b"yes\n")
        heard += hear(terminal, b"\nworking")
        os.write(terminal, b"\x03")
        heard += hear(terminal, b"shimmy-ops: stopped")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    finally:
        os.close(terminal)
    assert b"answer: yes" in heard
    assert [(one["task"], one["kind"]) for one in entries(stage)] == [("a", "verified")]
    assert gone(int((stage.folder / "pid").read_text()))


def hear(terminal: int, awaited: bytes) -> bytes:
    """What is said until ``awaited`` was."""
    heard = b""
    while awaited not in heard:
        assert select.select([terminal], [], [], 60)[0], heard
        heard += os.read(terminal, 4096)
    return heard


def test_status_and_report_show_what_is_verified_attested_failed_and_open(
    stage: Stage, capsys: Capture
) -> None:
    stage.write(
        task("a", criteria=["tests-pass"], verify=["{python}", "-c", "print('9 tests passed')"]),
        task("p", ask="So?"),
        task("f", 2, verify=["{python}", "-c", "raise SystemExit(5)"]),
        task("o", 2, title="<b>Bold & | odd</b>"),
        criteria={"tests-pass": {"title": "All tests pass"}},
    )
    stage.run("run")
    stage.run("attest", "p", "--by", "Ada <script>", "--note", "seen | by me")
    stage.run("run")
    capsys.readouterr()
    assert stage.run("status") == 0
    said = capsys.readouterr().out
    assert "Phase 1: Phase number 1 (2 of 2)\n  ✓ a  Do a\n       verified " in said
    assert "  ☐ p  Do p\n       attested by Ada <script> " in said
    assert "  ✗ f  Do f\n       failed with exit code 5 " in said
    assert "  \N{EN DASH} o  <b>Bold" in said
    assert said.endswith("Next: f\n  Somebody does f.\n")
    pages = stage.folder / "launch.md", stage.folder / "launch.html"
    assert stage.run("report", "--markdown", str(pages[0]), "--html", str(pages[1])) == 0
    markdown, html = (one.read_text() for one in pages)
    assert "2 of 4 tasks hold. Next: `f`." in markdown
    assert "| held | All tests pass | 9 tests passed |  | 1 |" in markdown
    assert r"| 2 | " in markdown and r"Ada \<script\> | seen \| by me |" in markdown
    assert "<script" not in html and "Ada &lt;script&gt;" in html
    assert "&lt;b&gt;Bold &amp; | odd&lt;/b&gt;" in html
    assert "This was a rehearsal" in html and "prefers-color-scheme: dark" in html
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("<table>") == 5 and html.count('class="gantt"') == 1


def test_criteria_are_required_or_excused(stage: Stage, capsys: Capture) -> None:
    figures = {"p99_seconds": 0.1, "error_rate": 0.5, "findings": [], "scanned": {"pieces": 2}}
    said = ["{python}", "-c", f"print('''{json.dumps(figures)}''')"]
    stage.write(
        task("w", verify=said, criteria=["api-fast", "errors-rare", "no-secret"]),
        criteria={
            "api-fast": {"title": "Fast", "p99_seconds": 0.5},
            "errors-rare": {"title": "Rare", "error_rate": 0.9},
            "no-secret": {"title": "None"},
        },
    )
    assert stage.run("criteria", "--require-all") == 1
    assert stage.run("criteria", "--require-all", "--allow-unknown",
                     "api-fast,errors-rare,no-secret") == 0  # fmt: skip
    stage.run("run")
    capsys.readouterr()
    assert stage.run("criteria", "--require-all", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["verdict"], one["entry"]) for one in told] == [("held", 1)] * 3
    assert stage.run("criteria", "--allow-unknown", "nothing") == 1


def test_a_plan_of_somebodys_own_that_makes_no_sense_is_refused(
    stage: Stage, capsys: Capture
) -> None:
    stage.plan_file.write_text("title = ")
    assert stage.run("status") == 1
    assert "[launch-plan-malformed]" in capsys.readouterr().err
    stage.plan_file.unlink()
    assert stage.run("status") == 1
    assert "[launch-plan-unreadable]" in capsys.readouterr().err


def test_days_and_folders_that_there_are_not_are_refused(stage: Stage, capsys: Capture) -> None:
    stage.write(task("a"))
    for day in ("9999-12-31", "0001-01-01", "2026-02-29"):
        with pytest.raises(SystemExit) as left:
            stage.run("timeline", "--start", day)
        assert left.value.code == 2
    assert stage.run("timeline", "--start", "2028-02-29") == 0
    capsys.readouterr()
    assert main([*stage.argv("run"), "--root", str(stage.folder / "nowhere")]) == 1
    assert "[launch-root-missing]" in capsys.readouterr().err
