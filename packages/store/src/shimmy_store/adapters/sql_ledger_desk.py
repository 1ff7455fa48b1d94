"""The ``LedgerDesk`` port in SQL that SQLite, D1 and PostgreSQL share."""

# ruff: noqa: S608 - every name put into a statement is a literal of ours

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from shimmy_store.adapters.ledger_erasing import erase_rows, read_erased
from shimmy_store.adapters.ledger_figures import ask_figures, read_figures
from shimmy_store.adapters.ledger_rows import RECORD, maybe, moment, record_of
from shimmy_store.adapters.ledger_traces import (
    Traces,
    ask_group,
    ask_loose,
    find_traces,
    needles_of,
)
from shimmy_store.domain.ledger_dump import TABLES, Value
from shimmy_store.ports.database import Database, Row, Statement
from shimmy_store.ports.ledger import CustomerRecord
from shimmy_store.ports.ledger_desk import (
    CustomerFile,
    Erased,
    KnownAlarm,
    KnownEvent,
    KnownMessage,
    LedgerFigures,
)

_NEWEST = 50
_ALARM = "code, subject, raised, acknowledged"


class SqlLedgerDesk:
    """See ``ports.ledger_desk``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def _one(self, sql: str, *values: str | int) -> Sequence[Row]:
        (rows,) = await self._database.batch([Statement(sql, values)])
        return rows

    async def figures(self, since: datetime) -> LedgerFigures:
        return read_figures(await self._database.batch(ask_figures(since)))

    async def alarms(self) -> Sequence[KnownAlarm]:
        rows = await self._one(
            f"SELECT {_ALARM} FROM alarms WHERE acknowledged IS NULL ORDER BY raised, number"
        )
        return [_alarm(row) for row in rows]

    async def file_of(self, customer: str) -> CustomerFile | None:
        records, events, messages, alarms = await self._database.batch(_ask_file(customer))
        if not (records or events or messages or alarms):
            return None
        return CustomerFile(
            record_of(records[0]) if records else CustomerRecord(customer),
            [_event(row) for row in events],
            [_message(row) for row in messages],
            [_alarm(row) for row in alarms],
        )

    async def files_with(self, email: str) -> Sequence[CustomerFile]:
        rows = await self._one(
            "SELECT customer FROM customers WHERE email_folded = ? AND email <> ''"
            " ORDER BY customer",
            email.strip().casefold(),
        )
        files = [await self.file_of(str(row[0])) for row in rows]
        return [one for one in files if one is not None]

    async def rows_of(self, customer: str) -> Mapping[str, Sequence[tuple[Value, ...]]]:
        traces = await self._traces(customer)
        found: dict[str, list[tuple[Value, ...]]] = {name: [] for name in TABLES}
        asked = _ask_rows(traces)
        answers = await self._database.batch([statement for _, statement in asked])
        for (table, _), rows in zip(asked, answers, strict=True):
            found[table].extend(tuple(row) for row in rows)
        return found

    async def erase(self, customer: str, now: datetime) -> Erased:
        traces = await self._traces(customer)
        steps = erase_rows(customer, traces, now)
        return read_erased(steps, await self._database.batch([one for _, one in steps]))

    async def _traces(self, customer: str) -> Traces:
        (group,) = await self._database.batch([ask_group(customer)])
        names = sorted({customer, *(str(row[0]) for row in group)})
        emails = [str(row[1]) for row in group]
        answers = await self._database.batch(ask_loose(needles_of(names, emails)))
        return find_traces(names, emails, answers)


def _ask_file(customer: str) -> list[Statement]:
    return [
        Statement(f"SELECT {RECORD} FROM customers WHERE customer = ?", (customer,)),
        Statement(
            "SELECT id, type, state, created, received, settled, attempts, error FROM events"
            " WHERE customer = ? ORDER BY number DESC LIMIT ?",
            (customer, _NEWEST),
        ),
        Statement(
            "SELECT key, kind, state, added, sent, attempts, error FROM outbox"
            " WHERE customer = ? ORDER BY number DESC LIMIT ?",
            (customer, _NEWEST),
        ),
        Statement(
            f"SELECT {_ALARM} FROM alarms WHERE customer = ? ORDER BY raised, number", (customer,)
        ),
    ]


def _ask_rows(traces: Traces) -> list[tuple[str, Statement]]:
    """Rows of everybody's; then what names nobody but is theirs."""
    asked = []
    for name in traces.names:
        for table in ("customers", "events", "outbox", "alarms"):
            order = "number" if TABLES[table].numbered else "customer"
            asked.append((table, _select(table, "customer", name, order)))
    for table, column, keys in (
        ("events", "id", traces.events),
        ("outbox", "key", traces.messages),
        ("links", "id", traces.links),
    ):
        asked += [(table, _select(table, column, key, column)) for key in keys]
    return asked


def _select(table: str, column: str, value: str, order: str) -> Statement:
    columns = ", ".join(one.name for one in TABLES[table].columns)
    return Statement(f"SELECT {columns} FROM {table} WHERE {column} = ? ORDER BY {order}", (value,))


def _event(row: Row) -> KnownEvent:
    name, kind, state, created, received, settled, attempts, error = row
    return KnownEvent(
        name, kind, state, moment(created), moment(received), maybe(settled), attempts, error
    )


def _message(row: Row) -> KnownMessage:
    key, kind, state, added, sent, attempts, error = row
    return KnownMessage(key, kind, state, moment(added), maybe(sent), attempts, error)


def _alarm(row: Row) -> KnownAlarm:
    code, subject, raised, acknowledged = row
    return KnownAlarm(code, subject, moment(raised), maybe(acknowledged))
