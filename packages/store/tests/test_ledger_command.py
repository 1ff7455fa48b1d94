"""``shimmy-store ledger``: the ledger into a file and back, where it is at hand."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from full_ledger import fill
from ledger_places import in_file

from shimmy_store.adapters.ledger_schema import claim_ledger, migrate_ledger
from shimmy_store.adapters.sql_ledger_copies import SqlLedgerCopies
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.cli.main import main
from shimmy_store.domain.catalog import PLAN_IDS
from shimmy_store.use_cases import dump_ledger as dumping

PREFIX = "SHIMMY_STORE_"
BASE = {
    "MODE": "test",
    "URL": "http://127.0.0.1:8400",
    "STRIPE_KEY": "sk_test_hidden",
    "STRIPE_URL": "http://127.0.0.1:9",
    "WEBHOOK_SECRETS": "whsec_hidden",
    "KEYGEN_ACCOUNT": "nobody",
    "KEYGEN_TOKEN": "hidden",
    "KEYGEN_URL": "http://127.0.0.1:9",
    "KEYGEN_POLICIES": ",".join(f"{plan}=policy-of-{plan}" for plan in PLAN_IDS),
    "MAIL": "smtp://127.0.0.1:9",
    "MAIL_FROM": "Shimmy Vision <licences@shimmy.example>",
    "SECRET": "hidden" * 8,
}

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """One command on one of two ledgers; its exit code and what it said."""
    for name, value in BASE.items():
        monkeypatch.setenv(PREFIX + name, value)

    def run(*argv: str, ledger: str = "full", mode: str = "test") -> tuple[int, str, str]:
        monkeypatch.setenv(f"{PREFIX}LEDGER", f"sqlite:///{tmp_path / ledger}.sqlite")
        monkeypatch.setenv(f"{PREFIX}MODE", mode)
        capsys.readouterr()
        code = main(["ledger", *argv])
        said = capsys.readouterr()
        assert "hidden" not in said.out + said.err
        assert "example.com" not in said.out + said.err
        return code, said.out, said.err

    in_file(tmp_path / "full.sqlite").tell(fill)
    return run


def test_dump_check_and_restore(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "ledger.ndjson"
    code, out, err = run("dump", str(file))
    assert (code, err) == (0, "")
    assert "customers 3" in out
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    end = json.loads(file.read_bytes().splitlines()[-1])
    assert end["sha256"] in out
    assert run("check", str(file)) == (0, out, "")
    assert run("restore", str(file), ledger="other") == (0, out, "")
    again = tmp_path / "again.ndjson"
    assert run("dump", str(again), ledger="other")[0] == 0
    assert again.read_bytes().splitlines()[1:-1] == file.read_bytes().splitlines()[1:-1]


def test_check_needs_no_settings(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ledger.ndjson"
    assert run("dump", str(file))[0] == 0
    for name in BASE:
        monkeypatch.delenv(PREFIX + name)
    assert main(["ledger", "check", str(file)]) == 0


def test_what_cannot_be_restored_says_why(run: Run, tmp_path: Path) -> None:
    file, half = tmp_path / "ledger.ndjson", tmp_path / "half.ndjson"
    assert run("dump", str(file))[0] == 0
    half.write_bytes(file.read_bytes()[:-9])
    for argv, code, word in (
        (("restore", str(file)), 1, "[ledger-not-empty]"),
        (("check", str(half)), 1, "[dump-damaged]"),
        (("check", str(tmp_path / "nowhere")), 1, "[dump-file-unusable]"),
        (("dump", str(tmp_path / "nowhere" / "file")), 1, "[dump-file-unusable]"),
    ):
        found, out, err = run(*argv)
        assert (found, out, word in err) == (code, "", True), err
    assert run("restore", str(half), ledger="other")[0] == 1
    assert run("restore", str(file), ledger="other")[0] == 0, "nothing of the half was left"


def test_a_dump_of_test_mode_is_not_for_live_mode(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ledger.ndjson"
    assert run("dump", str(file))[0] == 0
    monkeypatch.setenv(f"{PREFIX}STRIPE_KEY", "sk_live_hidden")
    monkeypatch.setenv(f"{PREFIX}URL", "https://store.example")
    monkeypatch.delenv(f"{PREFIX}STRIPE_URL")
    code, _, err = run("restore", str(file), ledger="other", mode="live")
    assert (code, "[dump-of-other-mode]" in err) == (1, True), err


def test_a_half_restored_ledger_is_dumped_by_nobody_and_restored_again(
    run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "ledger.ndjson"
    assert run("dump", str(file))[0] == 0

    async def begin() -> None:
        database = SqliteDatabase(tmp_path / "other.sqlite")
        await migrate_ledger(database)
        await claim_ledger(database, "test")
        assert await SqlLedgerCopies(database).begin("cut off")
        await database.close()

    asyncio.run(begin())
    code, _, err = run("dump", str(tmp_path / "other.ndjson"), ledger="other")
    assert (code, "[ledger-half-restored]" in err) == (75, True)
    assert run("restore", str(file), ledger="other")[0] == 0
    assert run("dump", str(tmp_path / "other.ndjson"), ledger="other")[0] == 0


def test_a_dump_that_breaks_off_leaves_the_file_before_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ledger.ndjson"
    file.write_text("the one before")

    def breaking(*_args: object) -> object:
        yield b"{}\n"
        raise KeyboardInterrupt

    monkeypatch.setattr(dumping, "write_dump", breaking)
    assert run("dump", str(file))[0] == 130
    assert file.read_text() == "the one before"
    assert not [one for one in tmp_path.iterdir() if one.name.startswith(".ledger")]
