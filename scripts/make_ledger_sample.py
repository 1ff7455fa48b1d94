"""Writes what a version of the store makes of its ledger: for tests of every later version.

    PYTHONPATH=OLD/packages/store/src .venv/bin/python scripts/make_ledger_sample.py REVISION >FILE

Run it with the code of the version (``git archive``) before its tables become an older schema's,
and keep the file as ``packages/store/tests/ledgers/schema-N.json``: the steps that made the
tables, every batch the version asked for, and the rows they made.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from shimmy_store.adapters.ledger_schema import MIGRATIONS, migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.notices import Notice
from shimmy_store.ports.database import Database, Dialect, Row, Statement
from shimmy_store.ports.ledger import HeardEvent, Link

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TABLES = ("customers", "events", "outbox", "links", "alarms", "tries", "settings")


class Recording:
    """A ledger's database that remembers each batch it was asked, in order."""

    dialect: Dialect = "sqlite"

    def __init__(self, database: Database) -> None:
        self._database = database
        self.asked: list[list[tuple[str, list[Any]]]] = []

    async def batch(self, statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
        self.asked.append([(one.sql, list(one.values)) for one in statements])
        return await self._database.batch(statements)

    async def close(self) -> None:
        await self._database.close()


async def _fill(ledger: SqlLedger) -> None:
    """Two customers, one of them merged; work that is open; mail; links; alarms; tries."""
    for number in (1, 2, 3):
        customer = f"cus_old_{number}"
        body = json.dumps({"id": f"evt_old_{number}"})
        event = HeardEvent(f"evt_old_{number}", "invoice.paid", customer, NOW, NOW, body, "pi_1")
        await ledger.add_event(event, "pending")
        await ledger.due_work(NOW, 10)
        lease = await ledger.lease_customer(customer, f"t{number}", NOW, NOW + MINUTE)
        if lease is None:
            raise RuntimeError("nobody else is here")
        await ledger.note_origin(lease, f"sub_old_{number}")
        record = replace(
            lease.record,
            origin=f"sub_old_{number}",
            email=f"Ada{number}@Example.com",
            plan="startup",
        )
        mail = [Notice(f"licence/old_{number}", "licence", {"plan": "startup"})]
        await ledger.settle_customer(lease, record, mail, NOW)
    parked = HeardEvent("evt_old_parked", "invoice.paid", "cus_old_3", NOW, NOW, "{}")
    await ledger.add_event(parked, "pending")
    await ledger.postpone_event("evt_old_parked", "payments-refused", None)
    await ledger.raise_alarms([Alarm("event-parked", "evt_old_parked")], NOW)
    await ledger.mark_sent("licence/old_1", NOW + MINUTE)
    await ledger.mark_sent("licence/old_2", NOW + MINUTE)
    await ledger.postpone_message("licence/old_3", "mail-refused", None)
    await ledger.raise_alarms([Alarm("message-parked", "licence/old_3")], NOW)
    await ledger.raise_alarms([Alarm("merge-credit", "sub_old_2")], NOW)
    await ledger.add_link(
        Link("link_old", "sign-in", ("cus_old_1",), "b", NOW + MINUTE, None, "a@x")
    )
    await ledger.use_link("link_old", "b", NOW)
    await ledger.count_try("old", 1)
    for question in (
        ledger.customer("cus_old_1"),
        ledger.customers_of("ada1@example.com"),
        ledger.open_alarms(),
        ledger.take_stock(),
        ledger.take_messages(NOW, NOW, 5),
    ):
        await question  # fmt: skip


async def _make(revision: str) -> dict[str, Any]:
    database = SqliteDatabase(":memory:")
    await migrate_ledger(database)
    recording = Recording(database)
    await _fill(SqlLedger(recording))
    rows = {}
    for table in TABLES:
        asked = Statement("SELECT name FROM pragma_table_info(?)", (table,))
        (found,) = await database.batch([asked])
        columns = [str(row[0]) for row in found if row[0] != "number"]
        everything = f"SELECT {', '.join(columns)} FROM {table}"  # noqa: S608 - ours
        (kept,) = await database.batch([Statement(everything)])
        rows[table] = {"columns": columns, "rows": [list(row) for row in kept]}
    await database.close()
    steps = [list(one) for one in MIGRATIONS]
    return {"made_by": revision, "steps": steps, "batches": recording.asked, "rows": rows}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_make(sys.argv[1])), indent=1))
