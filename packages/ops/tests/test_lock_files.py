"""Lock files: pinned, hashed, and silent about where they came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from shimmy_ops.cli.main import main
from shimmy_ops.domain.lock_files import check_lock_text

HASH = "--hash=sha256:" + "a" * 64
GOOD = "".join(
    [
        f"one==1.0 \\\n    {HASH} \\\n    {HASH}\n",
        f"two==2.0 ; sys_platform == 'win32' \\\n    {HASH}\n",
    ]
)


def test_a_complete_lock_has_no_findings() -> None:
    assert check_lock_text("x.lock", GOOD) == ()


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("", 1, "empty"),
        ("# nothing\n", 1, "empty"),
        (f"one==1.* \\\n    {HASH}\n", 1, "not pinned"),
        (f"one==1.0,<2 \\\n    {HASH}\n", 1, "not pinned"),
        (f"# from https://example.com/simple\n{GOOD}", 1, "place"),
        (f"{HASH}\n{GOOD}", 1, "belongs to no requirement"),
        (f"one==1.0\n    {HASH}\n", 2, "belongs to no requirement"),
        ("one==1.0\n", 1, "no hash"),
        (f"one==1.0\ntwo==2.0 \\\n    {HASH}\n", 1, "no hash"),
        (f"one>=1.0 \\\n    {HASH}\n", 1, "not pinned"),
        (f"one \\\n    {HASH}\n", 1, "not pinned"),
        ("one==1.0 \\\n    --hash=md5:abc\n", 2, "no SHA-256"),
        (f"--index-url https://example.com\n{GOOD}", 1, "place"),
        (f"--find-links wheels\n{GOOD}", 1, "place"),
        (f"-i mirror\n{GOOD}", 1, "place"),
        (f"one @ https://example.com/one.whl \\\n    {HASH}\n", 1, "place"),
        (f"one @ file:///tmp/one.whl \\\n    {HASH}\n", 1, "place"),
    ],
)
def test_what_is_missing_or_too_much_is_found(text: str, line: int, problem: str) -> None:
    finding = check_lock_text("x.lock", text)[0]
    assert finding.line == line
    assert problem in finding.problem


def test_the_command_ends_with_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["locks", str(tmp_path)]) == 64
    (tmp_path / "a.lock").write_text(GOOD)
    assert main(["locks", str(tmp_path)]) == 0
    (tmp_path / "b.lock").write_text("one\n")
    assert main(["locks", str(tmp_path)]) == 1
    assert "b.lock:1" in capsys.readouterr().out


def test_our_own_locks_are_complete() -> None:
    assert main(["locks", str(Path(__file__).resolve().parents[3] / "requirements")]) == 0
