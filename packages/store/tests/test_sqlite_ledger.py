"""What may befall a ledger in a file: no folder, no room, a file that is something else."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from ledger_places import due, event, in_file

from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.errors import LedgerError


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(LedgerError, match="cannot be used") as refused:
        SqliteDatabase("no/such/folder/ledger.sqlite")
    assert (refused.value.code, refused.value.retryable) == ("ledger-unusable", True)


def test_nobody_else_may_read_a_ledger(tmp_path: Path) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        modes = {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()}
        assert len(modes) == 3
        assert set(modes.values()) == {0o600}

    in_file(tmp_path / "ledger.sqlite").tell(story)


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_text("a letter to somebody " * 100)
    with pytest.raises(LedgerError, match="not a database"):
        SqliteDatabase(path)
    assert path.read_text().startswith("a letter")


def test_a_full_disk_keeps_nothing_of_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"

    async def story() -> None:
        database = SqliteDatabase(path)
        await migrate_ledger(database)
        ledger = SqlLedger(database)
        with closing(sqlite3.connect(path)) as other:
            (pages,) = other.execute("PRAGMA page_count").fetchone()
        database._connection.execute(f"PRAGMA max_page_count={pages}")
        heard = replace(event("e1"), body="x" * 100_000)
        with pytest.raises(LedgerError, match="full"):
            await ledger.add_event(heard, "pending")
        assert await due(ledger) == []
        await database.close()

    asyncio.run(story())


def test_who_begins_a_ledger_waits_for_whoever_is_just_beginning_it(tmp_path: Path) -> None:
    """As workers do that start together."""
    path = tmp_path / "ledger.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    soon = threading.Timer(0.3, other.execute, ("COMMIT",))
    soon.start()
    database = SqliteDatabase(path)
    asyncio.run(database.close())
    soon.join()
    other.close()


def test_a_ledger_is_there_again_when_it_is_opened_again(tmp_path: Path) -> None:
    place = in_file(tmp_path / "ledger.sqlite")

    async def before(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")

    async def after(ledger: SqlLedger) -> None:
        assert await due(ledger) == ["e1"]

    place.tell(before)
    place.tell(after)
