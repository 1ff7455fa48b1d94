"""A ledger goes out as a dump and comes back whole, from any database into any, or not at all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from full_ledger import everything, fill, settle
from ledger_places import NOW, Place, due, event, in_memory, leased, on_server

from shimmy_store.adapters.gated_database import GatedDatabase
from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sql_ledger_copies import SqlLedgerCopies
from shimmy_store.adapters.sql_ledger_desk import SqlLedgerDesk
from shimmy_store.domain.ledger_dump import WholeDump
from shimmy_store.errors import DumpError, LedgerError, StoreError
from shimmy_store.ports.database import Database, Row, Statement
from shimmy_store.use_cases import restore_ledger as restoring
from shimmy_store.use_cases.check_dump import check_dump
from shimmy_store.use_cases.dump_ledger import dump_ledger
from shimmy_store.use_cases.restore_ledger import restore_ledger


async def dumped(database: Database, mode: str = "test") -> list[bytes]:
    return list(await dump_ledger(SqlLedgerCopies(database), mode, NOW))


async def restored(
    database: Database, lines: Iterable[bytes], mode: str = "test", name: str = "a"
) -> WholeDump:
    kept = list(lines)
    return await restore_ledger(lambda: kept, SqlLedgerCopies(database), mode, name)


def full_dump() -> list[bytes]:
    """A dump of a ledger with something in every table."""
    found: list[bytes] = []

    async def story(ledger: SqlLedger) -> None:
        await fill(ledger)
        found.extend(await dumped(ledger._database))

    in_memory().tell(story)
    return found


def in_empty(place: Place, act: Callable[[Database], Awaitable[None]]) -> None:
    """Do it with an empty ledger."""

    async def run() -> None:
        async with place.opened(1) as (database,):
            await migrate_ledger(database)
            await act(database)

    asyncio.run(run())


class Failing:
    """A database that fails for good from its batch of this number on."""

    def __init__(self, database: Database, number: int) -> None:
        self._database, self._left = database, number

    @property
    def dialect(self) -> object:
        return self._database.dialect

    async def batch(self, statements: list[Statement]) -> list[list[Row]]:
        self._left -= 1
        if self._left < 0:
            raise LedgerError("ledger-unusable", "The power is off.", retryable=True)
        return await self._database.batch(statements)  # type: ignore[return-value]

    async def close(self) -> None:
        return


def test_a_dump_restored_into_an_empty_ledger_is_the_same_dump(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await fill(ledger)
        await SqlLedgerDesk(ledger._database).erase("cus_3", NOW)
        lines = await dumped(ledger._database)
        whole = await check_dump(lines)
        assert all(whole.header.tables.values()), "something of everything"
        async with in_memory().opened(1) as (other,):
            await migrate_ledger(other)
            assert await restored(other, lines) == whole
            assert await dumped(other) == lines
            await goes_on(SqlLedger(GatedDatabase(other)))

    place.tell(story)


async def goes_on(ledger: SqlLedger) -> None:
    """What was open is open, what was heard is known, and there is room for more."""
    assert "evt_open" in await due(ledger)
    assert not await ledger.add_event(event("evt_1"), "pending")
    assert await ledger.add_event(event("evt_new", "cus_1"), "pending")
    assert await ledger.retry(None, NOW) == 1
    lease = await leased(ledger)
    assert await ledger.settle_customer(lease, lease.record, [], NOW)


def test_a_ledger_moves_from_sqlite_to_postgresql_and_back(url: str) -> None:
    lines = full_dump()

    async def act(database: Database) -> None:
        await restored(database, lines)
        assert await dumped(database) == lines
        await goes_on(SqlLedger(GatedDatabase(database)))
        moved = await dumped(database)
        async with in_memory().opened(1) as (other,):
            await migrate_ledger(other)
            await restored(other, moved)
            assert await dumped(other) == moved

    in_empty(on_server(url), act)


def test_leases_are_not_in_a_dump(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        await leased(ledger)
        lines = await dumped(ledger._database)
        async with in_memory().opened(1) as (other,):
            await migrate_ledger(other)
            await restored(other, lines)
            lease = await leased(SqlLedger(other), owner="another")
            assert lease.record.customer == "cus_1"

    place.tell(story)


@pytest.mark.parametrize("what", ["event", "customer"])
def test_a_ledger_with_something_in_it_takes_no_dump(place: Place, what: str) -> None:
    lines = full_dump()

    async def story(ledger: SqlLedger) -> None:
        if what == "event":
            await ledger.add_event(event("e1"), "pending")
        else:
            await settle(ledger, "cus_9", "a@x")
        before = await everything(ledger._database)
        with pytest.raises(DumpError) as error:
            await restored(ledger._database, lines)
        assert error.value.code == "ledger-not-empty"
        assert await everything(ledger._database) == before
        assert await due(SqlLedger(GatedDatabase(ledger._database))) is not None

    place.tell(story)


def test_a_dump_of_the_other_mode_and_a_damaged_one_touch_nothing(place: Place) -> None:
    lines = full_dump()

    async def act(database: Database) -> None:
        empty = await everything(database)
        with pytest.raises(DumpError) as error:
            await restored(database, lines, mode="live")
        assert error.value.code == "dump-of-other-mode"
        with pytest.raises(DumpError) as error:
            await restored(database, lines[:-1])
        assert error.value.code == "dump-damaged"
        assert await everything(database) == empty
        await take(GatedDatabase(database))

    in_empty(place, act)


async def take(database: GatedDatabase) -> None:
    """The ledger can be worked with."""
    await SqlLedger(database).take_stock()


def test_wherever_a_restore_is_cut_off_the_next_one_begins_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = full_dump()
    monkeypatch.setattr(restoring, "_ROWS_AT_ONCE", 7)

    async def act(database: Database) -> None:
        gated = GatedDatabase(database)
        cut = 0
        for number in range(1, 100):
            try:
                await restored(Failing(database, number), lines, name=str(number))  # type: ignore[arg-type]
                break
            except LedgerError:
                cut += 1
                await refuses_to_work(gated, database)
        assert cut > 3
        assert await dumped(database) == lines
        await goes_on(SqlLedger(gated))

    in_empty(place, act)


async def refuses_to_work(gated: GatedDatabase, database: Database) -> None:
    before = await everything(database)
    ledger = SqlLedger(gated)
    attempts: list[Callable[[], Awaitable[object]]] = [
        ledger.take_stock,
        partial(ledger.add_event, event("new"), "pending"),
        partial(ledger.lease_customer, "cus_1", "a", NOW, NOW),
        partial(ledger.wake_customers, NOW),
        partial(SqlLedgerDesk(gated).figures, NOW),
        SqlLedgerCopies(database).read,
    ]
    for attempt in attempts:
        with pytest.raises(StoreError) as error:
            await attempt()
        assert (error.value.code, error.value.retryable) == ("ledger-half-restored", True)
    assert await everything(database) == before, "and nothing of it is kept"


def test_of_two_restores_at_once_the_later_one_wins(place: Place) -> None:
    lines = full_dump()

    async def act(database: Database) -> None:
        copies = SqlLedgerCopies(database)
        begun: list[bool] = []

        class Overtaken(SqlLedgerCopies):
            async def put(self, token: str, rows: object) -> None:
                if not begun:
                    begun.append(await copies.begin("another"))
                await super().put(token, rows)  # type: ignore[arg-type]

        with pytest.raises(LedgerError) as error:
            await restore_ledger(lambda: lines, Overtaken(database), "test", "first")
        assert error.value.code == "ledger-restore-overtaken"
        assert begun == [True]
        assert not any((await everything(database)).values()), "the other one's turn is not mixed"
        await restored(database, lines, name="third")
        assert await dumped(database) == lines

    in_empty(place, act)


def test_what_slipped_in_while_a_restore_began_leaves_the_ledger_marked(place: Place) -> None:
    lines = full_dump()

    class Slipping(SqlLedgerCopies):
        async def begin(self, token: str) -> bool:
            begun = await super().begin(token)
            await SqlLedger(self._database).add_event(event("slipped in"), "pending")
            return begun

    async def act(database: Database) -> None:
        with pytest.raises(LedgerError) as error:
            await restore_ledger(lambda: lines, Slipping(database), "test", "a")
        assert error.value.code == "ledger-restore-overtaken"
        with pytest.raises(LedgerError):
            await take(GatedDatabase(database))
        await restored(database, lines)
        assert await dumped(database) == lines

    in_empty(place, act)


def test_an_error_that_has_nothing_to_do_with_a_restore_stays_what_it_is(tmp_path: Path) -> None:
    async def act(database: Database) -> None:
        gated = GatedDatabase(database)
        for sql in ("SELECT * FROM nowhere", "INSERT INTO migrations (number) VALUES (1)"):
            with pytest.raises(LedgerError) as error:
                await gated.batch([Statement(sql)])
            assert error.value.code == "ledger-unusable"
        assert gated.dialect == "sqlite"

    in_empty(in_memory(), act)


def test_a_body_of_two_megabytes_comes_back(place: Place) -> None:
    text = '\u0001"' * (place.largest // 8 - 20_000)
    body = json.dumps({"text": text, "more": "\U0001f980" * 10_000})

    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(replace(event("large"), body=body), "pending")
        lines = await dumped(ledger._database)
        async with in_memory().opened(1) as (other,):
            await migrate_ledger(other)
            await restored(other, lines)
            rows = await everything(other)
        assert body in rows["events"][0]

    place.tell(story)
