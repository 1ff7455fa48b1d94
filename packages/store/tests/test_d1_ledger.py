"""What holds on D1 alone: its limits, its failures, its migrations, and a store that runs on it.

What every ledger promises is told of it as of the others, where tests ask for a ``place``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from d1_server import MIGRATIONS, QUIET, WRANGLER, BridgedD1, D1Server, write_config
from ledger_places import NOW, event, on_d1
from town import Fuse, open_town

from shimmy_store.adapters.d1_database import D1Database, D1Failure
from shimmy_store.adapters.gated_database import GatedDatabase
from shimmy_store.adapters.ledger_schema import (
    MIGRATIONS as STEPS,
)
from shimmy_store.adapters.ledger_schema import (
    check_ledger,
    migrate_ledger,
    migration_scripts,
)
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.cli.main import main
from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Database, Dialect, Row, Statement

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

SOURCE = Path(__file__).resolve().parents[1] / "src"
ON_PYODIDE = Path(__file__).parent / "support" / "d1_on_pyodide.mjs"


def _refused(database: Database, *statements: Statement) -> LedgerError:
    async def run() -> LedgerError:
        try:
            with pytest.raises(LedgerError) as refused:
                await database.batch(statements)
            return refused.value
        finally:
            await database.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    "statement",
    [
        Statement(f"SELECT 1 WHERE 1 IN ({', '.join('?' * 101)})", tuple(range(101))),
        Statement("SELECT ?", (2**53 + 1,)),
        Statement("SELECT ?", ("é" * 1_000_001,)),
        Statement(f"SELECT '{'x' * 100_000}'"),
    ],
)
def test_what_d1_would_refuse_or_change_is_never_sent(statement: Statement) -> None:
    async def wire(batch: str) -> str:
        raise AssertionError("it was sent")

    error = _refused(D1Database(wire), Statement("SELECT 1"), statement)
    assert (error.code, error.retryable) == ("ledger-value-too-large", False)


def test_what_fits_just_comes_back_as_it_was(d1: D1Server) -> None:
    text = "é\x01\U0001f980'\"?" * 1000

    async def run() -> None:
        async with on_d1(d1.create_database()).opened(1) as (database,):
            numbers = tuple(range(100))
            marks = ", ".join("CAST(? AS BIGINT)" for _ in numbers)
            rows = await database.batch(
                [
                    Statement("CREATE TABLE kept (number BIGINT, text TEXT)"),
                    Statement("INSERT INTO kept VALUES (?, ?)", (2**53 - 1, text)),
                    Statement("INSERT INTO kept VALUES (?, ?)", (None, "")),
                    Statement("SELECT number, text, typeof(number) FROM kept"),
                    Statement(f"SELECT 100 IN ({marks})", numbers),
                ]
            )
            assert rows[3] == [(2**53 - 1, text, "integer"), (None, "", "null")]
            assert rows[4] == [(0,)]
            assert await database.batch([]) == []

    asyncio.run(run())


def test_a_batch_that_fails_leaves_nothing_and_says_why(d1: D1Server) -> None:
    address = d1.create_database()

    async def run() -> None:
        async with on_d1(address).opened(1) as (database,):
            await migrate_ledger(database)
            ledger = SqlLedger(database)
            twice = Statement("INSERT INTO migrations (number) VALUES (1)")
            note = Statement("INSERT INTO settings (name, value) VALUES ('a', 'b')")
            with pytest.raises(LedgerError, match="UNIQUE constraint") as refused:
                await database.batch([note, twice])
            assert (refused.value.code, refused.value.retryable) == ("ledger-unusable", True)
            (rows,) = await database.batch([Statement("SELECT name FROM settings")])
            assert rows == []
            await database.batch([Statement("INSERT INTO settings VALUES ('restoring', 'x')")])
            with pytest.raises(LedgerError, match="being restored"):
                await SqlLedger(GatedDatabase(database)).add_event(event("e"), "pending")
            assert (await ledger.take_stock()).events == {}

    asyncio.run(run())


def test_a_way_that_is_cut_off_is_tried_again_later() -> None:
    error = _refused(BridgedD1("http://127.0.0.1:9/DB0"), Statement("SELECT 1"))
    assert (error.code, error.retryable) == ("ledger-unusable", True)
    assert "Network connection lost" in error.message


@pytest.mark.parametrize(
    ("told", "retryable"),
    [
        ("D1_ERROR: D1 DB is overloaded. Too many requests queued.", True),
        ("D1_ERROR: string or blob too big: SQLITE_TOOBIG", False),
        ("D1_TYPE_ERROR: Type 'undefined' not supported for value 'undefined'", False),
    ],
)
def test_what_d1_says_is_said_again(told: str, retryable: bool) -> None:
    async def wire(batch: str) -> str:
        raise D1Failure(f"{told}\nand a row's values")

    error = _refused(D1Database(wire), Statement("SELECT 1"))
    assert error.retryable == retryable
    assert told.rstrip(".") in error.message
    assert "values" not in error.message.partition(told.rstrip("."))[2]


def test_the_committed_migrations_are_the_store_s_own(tmp_path: Path) -> None:
    assert main(["ledger", "migrations", "--out", str(tmp_path)]) == 0
    scripts = migration_scripts()
    assert len(scripts) == len(STEPS)
    for folder in (tmp_path, MIGRATIONS):
        found = {one.name: one.read_text(encoding="utf-8") for one in folder.glob("*.sql")}
        assert found == scripts, f"shimmy-store ledger migrations --out {folder.name}"


def test_migrations_that_cannot_be_written_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["ledger", "migrations", "--out", str(tmp_path / "file" / "folder")]) == 1
    assert "[migrations-not-written]" in capsys.readouterr().err


@dataclass(frozen=True)
class Wrangler:
    """The command, as an operator runs it, on a local database."""

    program: Path
    folder: Path

    def apply(self, migrations: Path) -> subprocess.CompletedProcess[str]:
        """``wrangler d1 migrations apply DB0 --local``."""
        config = write_config(self.folder)
        read = json.loads(config.read_text())
        read["d1_databases"] = [{**read["d1_databases"][0], "migrations_dir": str(migrations)}]
        config.write_text(json.dumps(read))
        return subprocess.run(
            [
                *(self.program, "d1", "migrations", "apply", "DB0", "--local"),
                f"--config={config}",
                f"--persist-to={self.folder / 'state'}",
            ],
            env={**os.environ, **QUIET},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def file(self) -> Path:
        """Where local D1 keeps it."""
        kept = (self.folder / "state/v3/d1").glob("*/*.sqlite")
        return next(one for one in kept if one.stem != "metadata")


@pytest.fixture
def wrangler(d1: D1Server, tmp_path: Path) -> Wrangler:
    return Wrangler(d1.npm / WRANGLER, tmp_path)


def test_wrangler_and_the_store_agree_which_steps_were_taken(
    wrangler: Wrangler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    first.mkdir()
    shutil.copy(MIGRATIONS / "0001_ledger.sql", first)
    applied = wrangler.apply(first)
    assert applied.returncode == 0, applied.stdout + applied.stderr
    asyncio.run(_hear_of_old(wrangler.file(), monkeypatch))

    # One more than there are, which the store has taken by itself: wrangler does not take it again.
    every = tmp_path / "every"
    shutil.copytree(MIGRATIONS, every)
    number = len(STEPS) + 1
    note = f"INSERT INTO migrations (number) VALUES ({number});"  # noqa: S608 - a number of ours
    (every / f"{number:04}_ledger.sql").write_text(f"{note}\nCREATE TABLE more (a TEXT);\n")
    asyncio.run(_note(wrangler.file(), number))
    refused = wrangler.apply(every)
    assert refused.returncode != 0
    assert "UNIQUE constraint failed: migrations.number" in refused.stdout + refused.stderr
    assert asyncio.run(_tables(wrangler.file())).isdisjoint({"more"})
    # One that fails in its middle leaves nothing, its note least of all: the store goes by that.
    (every / f"{number:04}_ledger.sql").write_text(
        f"{note.replace(str(number), str(number + 1))}\nCREATE TABLE more (a TEXT);\n"
        "INSERT INTO migrations (number) VALUES (1);\n"
    )
    assert wrangler.apply(every).returncode != 0
    assert asyncio.run(_tables(wrangler.file())).isdisjoint({"more"})
    assert asyncio.run(_taken(wrangler.file())) == number
    # The others were taken before, each by itself.
    asyncio.run(_goes_on(wrangler.file()))


async def _hear_of_old(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = SqliteDatabase(path)
    with pytest.raises(LedgerError, match="step 1"):
        await check_ledger(database)
    await database.batch(
        [
            Statement(
                "INSERT INTO events (id, type, customer, payment, created, received, state, again,"
                " body) VALUES ('e1', 'invoice.paid', 'cus_1', '', 1, 1, 'pending', 0, '{}')"
            )
        ]
    )
    await database.close()


async def _goes_on(path: Path) -> None:
    database = SqliteDatabase(path)
    await check_ledger(database)
    assert await migrate_ledger(database) == 0
    assert [one.id for one in await SqlLedger(database).due_events(NOW, 10)] == ["e1"]
    other = SqliteDatabase(":memory:")
    await migrate_ledger(other)
    sql = Statement(
        "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%'"
        " AND name NOT LIKE 'd1!_%' ESCAPE '!' AND name NOT LIKE '!_cf%' ESCAPE '!' ORDER BY name"
    )
    assert await database.batch([sql]) == await other.batch([sql])
    await database.close()
    await other.close()


async def _note(path: Path, number: int) -> None:
    database = SqliteDatabase(path)
    await database.batch([Statement("INSERT INTO migrations (number) VALUES (?)", (number,))])
    await database.close()


async def _taken(path: Path) -> int:
    database = SqliteDatabase(path)
    (rows,) = await database.batch([Statement("SELECT MAX(number) FROM migrations")])
    await database.close()
    return int(rows[0][0])


async def _tables(path: Path) -> set[str]:
    database = SqliteDatabase(path)
    (rows,) = await database.batch([Statement("SELECT name FROM sqlite_master")])
    await database.close()
    return {row[0] for row in rows}


def test_the_binding_speaks_to_d1_through_pyodide(d1: D1Server, tmp_path: Path) -> None:
    """As in a Worker: Python on Pyodide, D1 in workerd, and the adapter's own way between them."""
    order = {"npm": str(d1.npm), "source": str(SOURCE), "state": str(tmp_path)}
    done = subprocess.run(
        ["node", str(ON_PYODIDE), json.dumps(order)],
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen == {
        "steps": [len(STEPS), 0],
        "rows": [[2**53 - 1, "é\u0001\U0001f980'\"?", None], [None, "", None]],
        "refused": ["ledger-unusable", True, True],
        "kept": 2,
        "stock": 0,
    }


class _Wired:
    """A database on a fuse: what goes through it, goes through or not at all."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        self._database, self._fuse = database, fuse

    @property
    def dialect(self) -> Dialect:
        return self._database.dialect

    async def batch(self, statements: Any) -> Any:
        rows: list[list[Row]] = await self._fuse.call(self._database.batch, (statements,))
        return rows

    async def close(self) -> None:
        await self._database.close()


@pytest.mark.parametrize("after", [False, True])
def test_a_power_cut_between_any_two_batches_loses_nothing(
    d1: D1Server, tmp_path: Path, after: bool
) -> None:
    """All of them but the first two, which are of the ledger's opening."""
    address = d1.create_database()
    seen: list[int] = []
    with open_town(tmp_path / "unused.sqlite") as town:
        number, blew = 3, True
        while blew:
            plain: Callable[[], Database] = lambda: BridgedD1(address)  # noqa: E731 - both are
            town.connect = plain
            customer = town.customer(f"{number}@example.com")
            bought = town.buy("startup", customer)
            town.work(rounds=0)
            fuse = Fuse(number, after)
            town.connect = lambda fuse=fuse: _Wired(BridgedD1(address), fuse)
            town.work(listen=False)
            blew = fuse.blown
            town.connect = plain
            town.pass_time(minutes=3)  # A dead worker's lease runs out.
            assert town.work(listen=False, rounds=3).waiting == 0
            licence = town.licence(bought.subscription)
            assert (licence.plan, licence.suspended) == ("startup", False)
            assert town.messages(customer) == [f"licence/{licence.id}"]
            seen.append(number)
            assert town.count_licences() == len(seen)
            number += 1
        assert town.ask("take_stock").oldest_event is None
        assert town.ask("open_alarms") == []
    assert len(seen) > 8
