"""The command: places, history, allow-list, exit codes; and this repository itself."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from planted_secrets import drawn, planted

from shimmy_ops.cli.main import main
from shimmy_ops.domain.secrets.findings import fingerprint

ROOT = Path(__file__).resolve().parents[3]
KEY = "sk_" + "live_51H" + drawn("command", 96)
Git = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def git(folder: Path) -> Git:
    """A repository there."""
    names = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")

    def run(*words: str) -> str:
        done = subprocess.run(
            ["git", *names, *words], cwd=folder, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    run("init", "-q", "-b", "main")
    return run


def commit(git: Git, path: Path, content: str | None, message: str = "a change") -> str:
    """Write or remove a file and commit it; the commit."""
    if content is None:
        path.unlink()
    else:
        path.write_text(content, encoding="utf-8")
    git("add", "-A")
    git("commit", "-q", "--allow-empty", "-m", message)
    return git("rev-parse", "HEAD")


def scan(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[dict[str, object]]]:
    """The exit code and the findings; nothing printed ever holds the key."""
    capsys.readouterr()
    code = main(["secrets-scan", "--json", *words])
    out, err = capsys.readouterr()
    assert KEY not in out + err
    return code, json.loads(out)["findings"] if out else []


def test_a_folder_a_file_and_a_wheel(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert scan(capsys)[0] == 2
    (folder / "clean.txt").write_text("nothing")
    assert scan(capsys) == (0, [])
    (folder / "sub").mkdir()
    (folder / "sub/keys.env").write_text(f"A=1\nSTRIPE_KEY={KEY}\n")
    code, (finding,) = scan(capsys)
    assert code == 1
    assert (finding["path"], finding["line"], finding["column"]) == ("sub/keys.env", 2, 12)
    assert (finding["code"], finding["fingerprint"]) == ("stripe-live-key", fingerprint(KEY))
    assert finding["value"] == f"sk_l… ({len(KEY)} characters)"
    assert scan(capsys, "sub/keys.env")[0] == 1
    assert scan(capsys, "clean.txt")[0] == 0
    with zipfile.ZipFile(folder / "a-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("a/keys.py", f"KEY = '{KEY}'")
    code, (finding,) = scan(capsys, "a-1-py3-none-any.whl")
    assert (code, finding["members"]) == (1, ["a/keys.py"])


def test_text_names_place_kind_and_remedy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.txt").write_text(KEY)
    assert main(["secrets-scan"]) == 1
    out = capsys.readouterr().out
    assert "a.txt:1:1: error stripe-live-key: sk_l…" in out
    assert "roll the key" in out
    assert KEY not in out
    assert KEY[:12] not in out


@pytest.mark.parametrize(
    "words", [["absent"], ["--history", "clean.txt"], ["--allow-list", "absent.toml"]]
)
def test_what_cannot_be_meant_ends_with_2(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    (folder / "clean.txt").write_text("nothing")
    assert scan(capsys, *words) == (2, [])


def test_tracked_files_and_all_of_them(
    folder: Path, git: Git, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(git, folder / ".gitignore", "dist/\n")
    (folder / "dist").mkdir()
    (folder / "dist/bundle.js").write_text(f"var a='{KEY}'")
    assert scan(capsys) == (0, [])
    assert scan(capsys, "--all")[0] == 1
    code, (finding,) = scan(capsys, "dist")
    assert (code, finding["path"]) == (1, "dist/bundle.js")
    (folder / "dist/bundle.js").unlink()
    (folder / "link").symlink_to(KEY)
    commit(git, folder / "other", "")
    assert scan(capsys)[0] == 1


def test_what_was_added_and_removed_again_is_in_the_history(
    folder: Path, git: Git, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(git, folder / "a.txt", "one")
    bad = commit(git, folder / "ü b\n.env", f"KEY={KEY}\n")
    commit(git, folder / "ü b\n.env", None)
    assert scan(capsys) == (0, [])
    code, (finding,) = scan(capsys, "--history")
    assert (code, finding["commit"], finding["path"]) == (1, bad, "ü b\n.env")
    assert main(["secrets-scan", "--history"]) == 1
    assert "ü b?.env" in capsys.readouterr().out


def _on_a_branch(folder: Path, git: Git) -> None:
    git("checkout", "-q", "-b", "side")
    commit(git, folder / "b.txt", KEY)
    git("checkout", "-q", "main")


def _in_a_message(folder: Path, git: Git) -> None:
    commit(git, folder / "b.txt", "b", f"Rolled {KEY}")


def _in_a_tag(folder: Path, git: Git) -> None:
    git("tag", "-a", "v1", "-m", f"key {KEY}")


def _in_the_stash(folder: Path, git: Git) -> None:
    (folder / "a.txt").write_text(KEY)
    git("stash")


def _on_a_detached_head(folder: Path, git: Git) -> None:
    git("checkout", "-q", "--detach")
    commit(git, folder / "b.txt", KEY)
    commit(git, folder / "b.txt", None)


def _in_a_merge(folder: Path, git: Git) -> None:
    git("checkout", "-q", "-b", "side")
    commit(git, folder / "b.txt", "b")
    git("checkout", "-q", "main")
    commit(git, folder / "c.txt", "c")
    git("merge", "-q", "--no-ff", "--no-commit", "side")
    commit(git, folder / "d.txt", KEY)
    commit(git, folder / "d.txt", None)


def _in_a_zip(folder: Path, git: Git) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep.txt", KEY)
    (folder / "a.zip").write_bytes(target.getvalue())
    commit(git, folder / "other", "")
    (folder / "a.zip").unlink()
    commit(git, folder / "other", "2")


def _tagged_blob(folder: Path, git: Git) -> None:
    (folder / "loose").write_text(KEY)
    git("tag", "blob", git("hash-object", "-w", "loose"))
    (folder / "loose").unlink()


@pytest.mark.parametrize(
    "plant",
    [
        *(_on_a_branch, _in_a_message, _in_a_tag, _in_the_stash, _on_a_detached_head),
        *(_in_a_merge, _in_a_zip, _tagged_blob),
    ],
)
def test_every_place_that_a_clone_would_get(
    folder: Path, git: Git, capsys: pytest.CaptureFixture[str], plant: Callable[[Path, Git], None]
) -> None:
    commit(git, folder / "a.txt", "one")
    plant(folder, git)
    assert scan(capsys) == (0, [])
    code, findings = scan(capsys, "--history")
    assert code == 1
    assert {finding["code"] for finding in findings} == {"stripe-live-key"}


def test_every_kind_is_found_in_the_history(
    folder: Path, git: Git, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (_, text, _value) in enumerate(planted()):
        (folder / f"{number}.txt").write_text(text)
    commit(git, folder / "last", "")
    for place in folder.glob("*.txt"):
        place.unlink()
    commit(git, folder / "last", "2")
    _, findings = scan(capsys, "--history")
    assert {str(f["code"]) for f in findings} == {kind for kind, *_ in planted()}


def test_a_history_that_is_not_there_is_not_called_clean(
    folder: Path, git: Git, capsys: pytest.CaptureFixture[str]
) -> None:
    assert scan(capsys, "--history", ".")[0] == 2
    commit(git, folder / "a.txt", KEY)
    commit(git, folder / "a.txt", "two")
    git("clone", "-q", "--depth", "1", f"file://{folder}", "shallow")
    assert scan(capsys, "--history", "shallow") == (3, [])
    shutil.rmtree(".git")
    assert scan(capsys, "--history", ".") == (3, [])


def _allow(folder: Path, text: str) -> None:
    (folder / "secrets-allow.toml").write_text(text)


NAMED = f'[[allow]]\nfingerprint = "{fingerprint(KEY)}"\nreason = "made up for a test"\n'


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (NAMED, 0),
        (NAMED + 'kind = "stripe-live-key"\npath = "sub/*.txt"\n', 0),
        (NAMED + 'kind = "jwt"\n', 1),
        (NAMED + 'path = "other/*"\n', 1),
        (NAMED + "expires = 2999-01-01\n", 0),
        (NAMED + "expires = 2001-01-01\n", 1),
        ('[[allow]]\npath = "sub/a.txt"\nkind = "stripe-live-key"\nreason = "made up here"\n', 0),
        ('[[allow]]\npath = "sub/a.txt"\nkind = "jwt"\nreason = "made up here"\n', 1),
        ('[[allow]]\npath = "sub/a.txt"\nreason = "made up here"\n', 2),
        ('[[allow]]\nkind = "stripe-live-key"\nreason = "made up here"\n', 2),
        ('[[allow]]\npath = "**"\nkind = "stripe-live-key"\nreason = "made up here"\n', 2),
        ('[[allow]]\npath = "sub/a.txt"\nkind = "no-kind"\nreason = "made up here"\n', 2),
        (f'[[allow]]\nfingerprint = "{fingerprint(KEY)}"\n', 2),
        (f'[[allow]]\nfingerprint = "{fingerprint(KEY)}"\nreason = " "\n', 2),
        ('[[allow]]\nfingerprint = "abc"\nreason = "made up for a test"\n', 2),
        (NAMED + 'expires = "2999-01-01"\n', 2),
        (NAMED + 'until = "2999-01-01"\n', 2),
        ("allow = 1\n", 2),
        ("[ignore]\n", 2),
        ("[[allow\n", 2),
    ],
)
def test_the_allow_list(
    folder: Path, capsys: pytest.CaptureFixture[str], entry: str, code: int
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/a.txt").write_text(KEY)
    _allow(folder, entry)
    assert scan(capsys)[0] == code


def test_somebody_elses_allow_list_further_up_does_not_count(
    folder: Path, git: Git, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(git, folder / "a.txt", KEY)
    (folder / "inner").mkdir()
    (folder / "inner/b.txt").write_text(KEY)
    _allow(folder, NAMED)
    assert scan(capsys, "inner")[0] == 0
    shutil.rmtree(folder / ".git")
    assert scan(capsys, "inner")[0] == 1


def test_entries_that_nothing_needs_or_that_ended_are_told(
    folder: Path, git: Git, capsys: pytest.CaptureFixture[str]
) -> None:
    other = NAMED.replace(fingerprint(KEY), "0" * 16)
    _allow(folder, NAMED + other + "expires = 2001-01-01\n" + other)
    commit(git, folder / "a.txt", KEY)
    code, findings = scan(capsys)
    assert (code, [f["code"] for f in findings]) == (0, ["allowance-expired"])
    code, findings = scan(capsys, "--history")
    assert code == 0
    assert [f["code"] for f in findings] == ["allowance-expired", "allowance-unused"]
    assert {f["level"] for f in findings} == {"warning"}
    assert scan(capsys, "--history", "--strict")[0] == 1


# A scan that comes to no end on any machine, and says when it is under way.
ENDLESS = """
import sys
from shimmy_ops.cli import secrets_scan
from shimmy_ops.cli.main import main
class Endless:
    def __init__(self, source): self.source = source
    def pieces(self):
        print("up", flush=True)
        while True:
            yield from self.source.pieces()
scan = secrets_scan.scan_secrets
secrets_scan.scan_secrets = lambda sources, *more: scan(map(Endless, sources), *more)
sys.exit(main(["secrets-scan"]))
"""


def test_ctrl_c_ends_it_cleanly(folder: Path) -> None:
    (folder / "large.bin").write_bytes(os.urandom(1 << 20))
    process = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever starts the tests in the background has Ctrl-C ignored in all they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        # One that does not hear of it would scan on behind all other tests.
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "stopped" in told
    assert "Traceback" not in told


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no repository here")
def test_this_repository_is_clean(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    code = main(["secrets-scan", "--history", "--strict"])
    assert code in (0, 3), capsys.readouterr().out
    if code == 3:  # a shallow clone has no history to speak of
        assert main(["secrets-scan"]) == 0, capsys.readouterr().out
