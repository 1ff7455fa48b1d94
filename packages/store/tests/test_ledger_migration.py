"""A ledger of the store's first version goes on with what it has."""

from __future__ import annotations

import asyncio

import pytest
from ledger_places import MINUTE, NOW, Place, due, event, leased

from shimmy_store.adapters import ledger_schema
from shimmy_store.adapters.ledger_rows import stamp
from shimmy_store.adapters.ledger_schema import MIGRATIONS, migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sql_ledger_desk import SqlLedgerDesk
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.ledger_dump import SCHEMA, TABLES
from shimmy_store.ports.database import Database, Statement

AT = stamp(NOW)


async def _as_of_old(database: Database) -> None:
    """Rows as the first version wrote them."""
    insert = (
        "INSERT INTO events (id, type, customer, payment, created, received, state, again, body)"
        " VALUES (?, 'invoice.paid', ?, '', ?, ?, ?, ?, '{}')"
    )
    await database.batch(
        [
            Statement(insert, ("evt_done", "cus_1", AT, AT, "done", AT)),
            Statement(insert, ("evt_open", "cus_1", AT, AT, "pending", AT)),
            Statement(insert, ("evt_parked", "cus_2", AT, AT, "parked", 0)),
            Statement(
                "INSERT INTO customers (customer, origin, settled, email, email_folded, plan)"
                " VALUES ('cus_1', 'sub_1', ?, 'Ada@x', 'ada@x', 'startup')",
                (AT,),
            ),
            Statement(
                "INSERT INTO outbox (key, customer, kind, facts, added, state) VALUES"
                " ('m1', 'cus_3', 'licence', '{}', ?, 'parked')",
                (AT,),
            ),
            Statement(
                "INSERT INTO alarms (code, subject, raised) VALUES ('event-parked', 'evt_parked',"
                " ?), ('message-parked', 'm1', ?), ('merge-credit', 'sub_1', ?)",
                (AT, AT, AT),
            ),
        ]
    )


def test_an_old_ledger_keeps_its_rows_and_learns_the_new_columns(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with place.opened(1) as (database,):
            with monkeypatch.context() as old:
                old.setattr(ledger_schema, "MIGRATIONS", MIGRATIONS[:1])
                assert await migrate_ledger(database) == 1
            await _as_of_old(database)
            assert await migrate_ledger(database) == len(MIGRATIONS) - 1
            ledger, desk = SqlLedger(database), SqlLedgerDesk(database)
            record = await ledger.customer("cus_1")
            assert record is not None
            assert (record.origin, record.plan, record.erased) == ("sub_1", "startup", None)
            assert await due(ledger) == ["evt_open"]
            assert await ledger.open_alarms() == [
                Alarm("event-parked", "evt_parked"),
                Alarm("message-parked", "m1"),
                Alarm("merge-credit", "sub_1"),
            ]
            for customer, code in (("cus_2", "event-parked"), ("cus_3", "message-parked")):
                file = await desk.file_of(customer)
                assert file is not None
                assert [one.code for one in file.alarms] == [code], "it is known whose they are"
            lease = await leased(ledger)
            await ledger.settle_customer(lease, lease.record, [], NOW + MINUTE)
            file = await desk.file_of("cus_1")
            assert file is not None
            settled = {one.id: one.settled for one in file.events}
            assert settled == {"evt_done": None, "evt_open": NOW + MINUTE}

    asyncio.run(run())


def test_a_dump_has_all_tables_and_columns_but_those_that_mean_nothing_elsewhere(
    place: Place,
) -> None:
    left_out = {
        "customers": {"lease_token", "lease_until"},
        "events": {"number", "known_to"},
        "outbox": {"number"},
        "links": set[str](),
        "alarms": {"number"},
    }

    async def run() -> None:
        async with place.opened(1) as (database,):
            await migrate_ledger(database)
            for name, table in TABLES.items():
                columns = await _columns(database, name)
                assert columns == {one.name for one in table.columns} | left_out[name]

    assert len(MIGRATIONS) == SCHEMA
    asyncio.run(run())


async def _columns(database: Database, table: str) -> set[str]:
    sql = (
        "SELECT name FROM pragma_table_info(?)"
        if database.dialect == "sqlite"
        else "SELECT column_name FROM information_schema.columns WHERE table_name = ?"
    )
    (rows,) = await database.batch([Statement(sql, (table,))])
    return {row[0] for row in rows}


def test_settling_again_and_belonging_to_nobody_are_noted_too(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        desk = SqlLedgerDesk(ledger._database)
        await ledger.add_event(event("e1", ""), "pending")
        await ledger.assign_event("e1", "", NOW + MINUTE)
        await ledger.add_event(event("e2"), "pending")
        await ledger.postpone_event("e2", "no network", None)
        assert await ledger.retry("e2", NOW + 5 * MINUTE) == 1
        lease = await leased(ledger, now=NOW + 5 * MINUTE)
        await ledger.settle_customer(lease, lease.record, [], NOW + 7 * MINUTE)
        figures = await desk.figures(NOW)
        assert sorted(figures.events.settling) == [60.0, 120.0], "anew from the retry on"
        assert figures.events.delivery == [0.0, 0.0], "it did come at once, the first time"

    place.tell(story)
