"""Where a ledger may lie, and stories that have to go the same way everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from d1_server import BridgedD1

from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.postgres_database import PostgresDatabase
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.domain.notices import Notice
from shimmy_store.ports.database import Database
from shimmy_store.ports.ledger import HeardEvent, Lease, Link

NOW = datetime(2026, 11, 25, 12, 0, 0, 123456, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

Story = Callable[[SqlLedger], Awaitable[None]]
StoryOfMany = Callable[[list[SqlLedger]], Awaitable[None]]


@dataclass(frozen=True)
class Place:
    """An empty ledger, until a story has been told there."""

    connect: Callable[[], Awaitable[Database]]
    # A ledger in memory has one connection: there its programs are tasks that share it.
    shared: bool = False
    # Of the text that one value may hold; D1 takes two million bytes.
    largest: int = 4_000_000

    def tell(self, story: Story) -> None:
        """Run it on a ledger opened for it."""
        self.tell_many(1, lambda ledgers: story(ledgers[0]))

    def tell_many(self, programs: int, story: StoryOfMany) -> None:
        """Run it on a ledger that several programs have open."""

        async def run() -> None:
            async with self.opened(programs) as databases:
                await migrate_ledger(databases[0])
                await story([SqlLedger(one) for one in databases])

        asyncio.run(run())

    @asynccontextmanager
    async def opened(self, programs: int) -> AsyncIterator[list[Database]]:
        """The databases of several programs."""
        own = 1 if self.shared else programs
        databases = [await self.connect() for _ in range(own)]
        try:
            yield databases if own == programs else databases * programs
        finally:
            for one in databases:
                await one.close()


def in_memory() -> Place:
    """Gone when it is closed; an empty one elsewhere, while ``memories_on`` says so."""
    if _elsewhere:
        return _elsewhere[-1]()

    async def connect() -> Database:
        return SqliteDatabase(":memory:")

    return Place(connect, shared=True)


_elsewhere: list[Callable[[], Place]] = []


@contextmanager
def memories_on(another: Callable[[], Place]) -> Iterator[None]:
    """What tests keep in memory lies there meanwhile: so they are tests of another ledger."""
    _elsewhere.append(another)
    try:
        yield
    finally:
        _elsewhere.pop()


def in_file(path: Path) -> Place:
    """A file of SQLite's."""

    async def connect() -> Database:
        return SqliteDatabase(path)

    return Place(connect)


def on_server(url: str) -> Place:
    """A database of a PostgreSQL server's."""

    async def connect() -> Database:
        return await PostgresDatabase.open(url)

    return Place(connect)


def on_d1(address: str) -> Place:
    """A local D1 database, over the bridge."""

    async def connect() -> Database:
        return BridgedD1(address)

    return Place(connect, largest=1_900_000)


@asynccontextmanager
async def open_on_server(url: str) -> AsyncIterator[PostgresDatabase]:
    """The same, for what only a server does."""
    database = await PostgresDatabase.open(url)
    try:
        await migrate_ledger(database)
        yield database
    finally:
        await database.close()


def event(name: str, customer: str = "cus_1", payment: str = "") -> HeardEvent:
    """An event as it might be heard."""
    return HeardEvent(name, "invoice.paid", customer, NOW, NOW, "{}", payment)


def notice(key: str) -> Notice:
    """Something to be told."""
    return Notice(key, "licence", {"licence": key})


def a_link(name: str = "l1", browser: str = "") -> Link:
    """A link that is good for a minute."""
    return Link(name, "merge", ("cus_1", "cus_2"), browser, NOW + MINUTE)


async def leased(
    ledger: SqlLedger, customer: str = "cus_1", owner: str = "a", now: datetime = NOW
) -> Lease:
    """A lease for a minute, which nobody else may have."""
    lease = await ledger.lease_customer(customer, owner, now, now + MINUTE)
    assert lease is not None
    return lease


async def due(ledger: SqlLedger, now: datetime = NOW) -> list[str]:
    """The events to be looked at."""
    return [one.id for one in await ledger.due_events(now, 1000)]


async def waiting(ledger: SqlLedger, now: datetime = NOW) -> list[str]:
    """The messages to be sent; taken, but for no time."""
    return [one.notice.key for one in await ledger.take_messages(now, now, 1000)]
