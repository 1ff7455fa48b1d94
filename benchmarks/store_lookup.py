"""How long the ledger's questions take when very many customers have bought.

Rows are generated straight into the tables that the store's own migrations make: for each customer
one event that is done, one mail that went out. Each question is asked through the store's own
adapters, first with a hundredth of the rows and then with all of them: a question whose time grows
with the rows shows it. On SQLite the plan of each customer's question is read too, and none may
scan a table.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from shimmy_store.adapters.ledger_rows import stamp
from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.postgres_database import PostgresDatabase
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sql_ledger_desk import SqlLedgerDesk
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.ports.database import Database, Row, Statement
from shimmy_store.use_cases.find_customers import find_customers
from store_street import postgresql

_TABLES = {
    "customers": ("customer", "origin", "settled", "email", "email_folded", "plan"),
    "events": (
        *("id", "type", "customer", "payment", "created", "received", "state", "again"),
        *("body", "settled"),
    ),
    "outbox": ("key", "customer", "kind", "facts", "added", "state", "sent"),
}
_BODY = json.dumps({"object": "event", "data": {"object": {"object": "invoice", "pad": "x" * 200}}})
_SCANNED = frozenset((*_TABLES, "alarms", "links", "tries"))
_CHUNK = 20_000
_START = datetime(2026, 1, 1, tzinfo=UTC)
# What is asked for one customer may not grow with the number of customers; a scan of a hundred
# times the rows takes a hundred times as long.
MOST_GROWTH, MOST_MS = 10.0, 50.0

Question: TypeAlias = Callable[[int], Awaitable[object]]


class Recorded:
    """The ``Database`` port over another one; remembers what was asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.dialect = database.dialect
        self.asked: list[Statement] = []

    async def batch(self, statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
        """As the port says."""
        self.asked += statements
        return await self._database.batch(statements)

    async def close(self) -> None:
        """As the port says."""
        await self._database.close()


def measure_lookup(folder: Path, ledger: str, customers: int, repeats: int) -> dict[str, Any]:
    """Milliseconds of every question with few rows and with many, and what grew."""
    if ledger == "sqlite":
        return asyncio.run(_measure(str(folder / "lookup.sqlite"), customers, repeats))
    with postgresql() as url:
        return asyncio.run(_measure(url, customers, repeats))


async def _measure(place: str, customers: int, repeats: int) -> dict[str, Any]:
    few = max(100, customers // 100)
    opened: Database
    if place.startswith("postgresql"):
        opened = await PostgresDatabase.open(place)
    else:
        opened = SqliteDatabase(place)
    database = Recorded(opened)
    try:
        await migrate_ledger(database)
        await asyncio.to_thread(_fill, place, range(few))
        with_few = await _ask_all(database, few, repeats)
        began = time.perf_counter()
        await asyncio.to_thread(_fill, place, range(few, customers))
        filled = time.perf_counter() - began
        with_many = await _ask_all(database, customers, repeats)
        scans = await _scans(database, customers)
    finally:
        await database.close()
    questions = {
        name: {"few_ms": with_few[name], "many_ms": many, "growth": _ratio(many, with_few[name])}
        for name, many in with_many.items()
    }
    slow = [
        name
        for name, row in questions.items()
        if name in _of_one(database, 1, random.Random(0))
        and row["many_ms"] > MOST_MS
        and row["growth"] > MOST_GROWTH
    ]
    return {
        "customers_few": few,
        "customers": customers,
        "fill_seconds": round(filled, 1),
        "questions": questions,
        "scans": scans,
        "broken": [*slow, *(f"scan: {one}" for one in scans)],
    }


def _of_one(database: Database, customers: int, chance: random.Random) -> dict[str, Question]:
    """Questions about one customer: these must not grow."""
    ledger, desk = SqlLedger(database), SqlLedgerDesk(database)

    def pick() -> int:
        return chance.randrange(customers)

    return {
        "store: customer by id": lambda _: ledger.customer(_name(pick())),
        "store: customers by address": lambda _: ledger.customers_of(_email(pick())),
        "store: merged into": lambda _: ledger.merged_into(_name(pick())),
        "store: work due": lambda _: ledger.due_work(datetime.now(UTC), 10),
        "operator: file by id": lambda _: find_customers(desk, customer=_name(pick())),
        "operator: file by address": lambda _: find_customers(desk, email=_email(pick())),
        "operator: file of a stranger": lambda _: find_customers(desk, email="no@example.com"),
    }


def _of_all(database: Database, customers: int) -> dict[str, Question]:
    """Questions about everybody, and what must look into every body: these may grow."""
    ledger, desk = SqlLedger(database), SqlLedgerDesk(database)
    last_day = _START + timedelta(seconds=customers) - timedelta(days=1)
    return {
        "store: stock for health and metrics": lambda _: ledger.take_stock(),
        "operator: figures of a day": lambda _: desk.figures(last_day),
        "operator: export of one customer": lambda _: desk.rows_of(_name(customers // 2)),
    }


async def _ask_all(database: Database, customers: int, repeats: int) -> dict[str, float]:
    found = {}
    for name, ask in _of_one(database, customers, random.Random(1)).items():
        found[name] = await _median(ask, repeats)
    for name, ask in _of_all(database, customers).items():
        found[name] = await _median(ask, 3)
    return found


async def _median(ask: Question, repeats: int) -> float:
    times = []
    for number in range(repeats + 1):
        began = time.perf_counter()
        await ask(number)
        times.append((time.perf_counter() - began) * 1000)
    # The first one warms caches.
    return round(statistics.median(times[1:]), 3)


async def _scans(database: Recorded, customers: int) -> list[str]:
    """Questions about one customer that SQLite would answer by reading a whole table."""
    if database.dialect != "sqlite":
        return []
    found = []
    for name, ask in _of_one(database, customers, random.Random(1)).items():
        database.asked.clear()
        await ask(0)
        for one in tuple(database.asked):
            (rows,) = await database.batch([Statement(f"EXPLAIN QUERY PLAN {one.sql}", one.values)])
            found += [f"{name}: {row[3]}" for row in rows if _reads_all(str(row[3]))]
    return found


def _reads_all(step: str) -> bool:
    """Of a step of SQLite's plan, which also scans what it made itself: that is small."""
    words = step.split()
    return words[0] == "SCAN" and words[1] in _SCANNED and "USING" not in words


def _fill(place: str, numbers: range) -> None:
    for start in range(numbers.start, numbers.stop, _CHUNK):
        chunk = range(start, min(start + _CHUNK, numbers.stop))
        if place.startswith("postgresql"):
            _copy(place, chunk)
        else:
            _insert(place, chunk)
    _analyze(place)


def _insert(place: str, numbers: range) -> None:
    with closing(sqlite3.connect(place)) as file:
        file.execute("PRAGMA synchronous=OFF")
        for table, columns in _TABLES.items():
            marks = ", ".join("?" * len(columns))
            sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
            file.executemany(sql, _rows(table, numbers))
        file.commit()


def _copy(place: str, numbers: range) -> None:
    import psycopg

    with psycopg.connect(place) as server, server.cursor() as cursor:
        for table, columns in _TABLES.items():
            sql = f"COPY {table} ({', '.join(columns)}) FROM STDIN"
            with cursor.copy(sql.encode()) as copy:
                for row in _rows(table, numbers):
                    copy.write_row(row)


def _analyze(place: str) -> None:
    """As a server in use does by itself; SQLite's planner needs none."""
    if not place.startswith("postgresql"):
        return
    import psycopg

    with psycopg.connect(place, autocommit=True) as server:
        server.execute("VACUUM ANALYZE")


def _rows(table: str, numbers: range) -> Iterator[tuple[object, ...]]:
    for number in numbers:
        at, name = stamp(_START + timedelta(seconds=number)), _name(number)
        match table:
            case "customers":
                email = _email(number)
                yield (name, f"sub_{number}", at, email, email.casefold(), "developer")
            case "events":
                known = (f"evt_{number}", "invoice.paid", name, "", at, at, "done", at)
                yield (*known, _BODY, at + 1)
            case _:
                yield (f"welcome {name}", name, "welcome", "{}", at, "sent", at + 1)


def _name(number: int) -> str:
    return f"cus_{number:012}"


def _email(number: int) -> str:
    return f"Buyer-{number}@example.com"


def _ratio(many: float, few: float) -> float:
    return round(many / max(few, 0.001), 1)
