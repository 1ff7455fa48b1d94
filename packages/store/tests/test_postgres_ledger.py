"""Others at the same server get in between two statements, lock rows, and end connections."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest
from ledger_places import NOW, due, event, leased, notice, open_on_server, waiting

from shimmy_store.adapters import postgres_database
from shimmy_store.adapters.postgres_database import PostgresDatabase
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Dialect, Row, Statement
from shimmy_store.ports.ledger import CustomerRecord

PROGRAMS = 8
WAITING = (
    b"SELECT COUNT(*) FROM pg_stat_activity"
    b" WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
COUNT_TRY = b"UPDATE tries SET count = count + 1"
LOOK_AND_COUNT_TRY = [Statement("SELECT COUNT(*) FROM tries"), Statement(COUNT_TRY.decode())]


class Interrupted:
    """A database on which something happens before the second statement of a batch."""

    dialect: Dialect = "postgresql"

    def __init__(self, database: PostgresDatabase, meanwhile: Callable[[], None]) -> None:
        self._database, self._meanwhile = database, meanwhile

    async def batch(self, statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
        return await self._database.batch(_Interrupting(statements, self._meanwhile))

    async def close(self) -> None:
        await self._database.close()


class _Interrupting(list[Statement]):
    def __init__(self, statements: Sequence[Statement], meanwhile: Callable[[], None]) -> None:
        super().__init__(statements)
        self._meanwhile = meanwhile

    def __iter__(self) -> Iterator[Statement]:
        for number, one in enumerate(super().__iter__()):
            if number == 1:
                self._meanwhile()
            yield one


def once(act: Callable[[], None]) -> Callable[[], None]:
    """Only the first time."""
    acts = iter([act])
    return lambda: next(acts, lambda: None)()


def execute(url: str, sql: bytes) -> None:
    """As somebody else, at once."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql)


@contextmanager
def held(url: str, sql: bytes) -> Iterator[psycopg.Connection]:
    """Somebody else's statement that is not committed before the end."""
    with psycopg.connect(url) as connection:
        connection.execute(sql)
        yield connection


def test_a_lease_lost_between_two_statements_writes_nothing(url: str) -> None:
    """Under READ COMMITTED the message would be kept and the event be pending, still."""

    async def story() -> None:
        async with open_on_server(url) as database:
            ledger = SqlLedger(database)
            await ledger.add_event(event("e1"), "pending")
            lease = await leased(ledger)
            lose = once(lambda: execute(url, b"UPDATE customers SET lease_token = 'other'"))
            record = CustomerRecord("cus_1", "sub_1", "a@x")
            interrupted = SqlLedger(Interrupted(database, lose))
            assert not await interrupted.settle_customer(lease, record, [notice("one")], NOW)
            assert await waiting(ledger) == []
            assert [one.split()[0] for one in await due(ledger)] == ["e1", "overtaken"]
            assert await ledger.customer("cus_1") == CustomerRecord("cus_1")

    asyncio.run(story())


def test_an_event_that_commits_after_the_lease_was_taken_is_looked_at_again(url: str) -> None:
    """Its number may be lower than those of events that were seen."""
    heard = (
        b"INSERT INTO events (id, type, customer, payment, created, received, state, again, body)"
        b" VALUES ('e1', 'invoice.paid', 'cus_1', '', 0, 0, 'pending', 0, '')"
    )

    async def story() -> None:
        async with open_on_server(url) as database:
            ledger = SqlLedger(database)
            with held(url, heard):
                await ledger.add_event(event("e2"), "pending")
                lease = await leased(ledger)
            assert await ledger.settle_customer(lease, lease.record, [], NOW)
            assert await due(ledger) == ["e1"]

    asyncio.run(story())


def test_a_batch_that_met_another_runs_again(url: str) -> None:
    async def story() -> None:
        async with open_on_server(url) as database:
            ledger = SqlLedger(database)
            await ledger.count_try("a", 1)
            interrupted = Interrupted(database, once(lambda: execute(url, COUNT_TRY)))
            await interrupted.batch(LOOK_AND_COUNT_TRY)
            assert await ledger.count_try("a", 1) == 4

    asyncio.run(story())


def test_a_batch_that_always_meets_another_ends(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_database, "_TRIES", 5)

    async def story() -> None:
        async with open_on_server(url) as database:
            ledger = SqlLedger(database)
            await ledger.count_try("a", 1)
            interrupted = Interrupted(database, lambda: execute(url, COUNT_TRY))
            with pytest.raises(LedgerError, match="concurrent update") as refused:
                await interrupted.batch(LOOK_AND_COUNT_TRY)
            assert (refused.value.code, refused.value.retryable) == ("ledger-unusable", True)
            assert await ledger.count_try("a", 1) == 1 + 5 + 1

    asyncio.run(story())


def test_a_deadlock_is_tried_again(url: str) -> None:
    """The other one has more patience, so that it is ours that the server ends."""
    sql = "UPDATE tries SET count = count + 1 WHERE name = ?"
    first, second = Statement(sql, ("a",)), Statement(sql, ("b",))
    locked = threading.Event()

    def other() -> None:
        with psycopg.connect(url, options="-c deadlock_timeout=60s") as connection:
            for one in (second, first):
                connection.execute(one.sql.replace("?", "%s").encode(), one.values)
                locked.set()

    def meanwhile() -> None:
        thread.start()
        assert locked.wait(60)
        # Ours looks once whether there is a deadlock, a moment after it began to wait.
        with psycopg.connect(url, autocommit=True) as connection:
            end = time.monotonic() + 60
            while connection.execute(WAITING).fetchone() != (1,):
                assert time.monotonic() < end
                time.sleep(0.01)

    thread = threading.Thread(target=other)

    async def story() -> None:
        async with open_on_server(url) as database:
            ledger = SqlLedger(database)
            for name in "ab":
                await ledger.count_try(name, 1)
            interrupted = Interrupted(database, once(meanwhile))
            await interrupted.batch([first, second])
            thread.join()
            assert [await ledger.count_try(name, 1) for name in "ab"] == [4, 4]

    asyncio.run(story())


def test_a_connection_lost_in_the_middle_keeps_nothing(url: str) -> None:
    end = (
        b"SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        b" WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )

    async def story() -> None:
        async with open_on_server(url) as database:
            ledger = SqlLedger(database)
            lease = await leased(ledger)
            interrupted = SqlLedger(Interrupted(database, lambda: execute(url, end)))
            with pytest.raises(LedgerError) as refused:
                await interrupted.settle_customer(lease, lease.record, [notice("one")], NOW)
            assert refused.value.retryable
            assert await waiting(ledger) == []
            assert await ledger.settle_customer(lease, lease.record, [notice("one")], NOW)

    asyncio.run(story())


def test_nobody_waits_for_ever(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the batch that meets a lock nor those that wait for their turn behind it."""

    async def story() -> None:
        async with open_on_server(url) as database:
            ledger = SqlLedger(database)
            await ledger.count_try("a", 1)
            monkeypatch.setattr(postgres_database, "_BATCH_SECONDS", 0.3)
            began = time.monotonic()
            with held(url, COUNT_TRY):
                tries = [ledger.count_try("a", 1) for _ in range(PROGRAMS)]
                ended = await asyncio.gather(*tries, return_exceptions=True)
                assert all(isinstance(one, LedgerError) and one.retryable for one in ended)
            # By itself the server gives up after ten seconds.
            assert time.monotonic() - began < 9
            monkeypatch.undo()
            assert await ledger.count_try("a", 1) == 3

    asyncio.run(story())


def test_the_server_gives_up_by_itself(url: str) -> None:
    """What a transaction runs under, whatever becomes of the program that began it."""
    names = ("transaction_isolation", "statement_timeout", "idle_in_transaction_session_timeout")

    async def story() -> None:
        async with open_on_server(url) as database:
            rows = await database.batch([Statement(f"SHOW {name}") for name in names])
            assert [one[0][0] for one in rows] == ["repeatable read", "10s", "10s"]

    asyncio.run(story())


def test_connections_are_few_and_closing_waits_for_them(url: str) -> None:
    mine = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()"
    nap = Statement(f"{mine} AND pg_sleep(0.05) IS NOT NULL")

    async def story() -> None:
        async with open_on_server(url) as database:
            calls = [asyncio.create_task(database.batch([nap])) for _ in range(20)]
            await asyncio.sleep(0.1)
            await database.close()
            assert max(call.result()[0][0][0] for call in calls) <= 4
        with psycopg.connect(url, autocommit=True) as connection:
            # The server notices a moment after the connection has gone.
            end = time.monotonic() + 60
            while connection.execute(mine.encode()).fetchone() != (1,):
                assert time.monotonic() < end
                await asyncio.sleep(0.05)

    asyncio.run(story())


@pytest.mark.parametrize(("sql", "values"), [("SELECT ?", ()), ("SELECT 1 % 2", ())])
def test_a_statement_has_a_place_for_each_value(
    url: str, sql: str, values: tuple[str, ...]
) -> None:
    async def story() -> None:
        async with open_on_server(url) as database:
            with pytest.raises(ValueError, match="Not a statement"):
                await database.batch([Statement(sql, values)])
            assert await database.batch([Statement("SELECT 1")]) == [[(1,)]]

    asyncio.run(story())
