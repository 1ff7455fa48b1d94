"""The ``LedgerCopies`` port: the whole ledger read in one batch, and written in many."""

# ruff: noqa: S608 - every name put into a statement is a literal of ours

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shimmy_store.adapters.gated_database import MARKED, RESTORING, half_restored
from shimmy_store.domain.ledger_dump import TABLES, DumpRow, Value
from shimmy_store.ports.database import Database, Row, Statement
from shimmy_store.ports.ledger_desk import LedgerCopy

_OUR_TURN = "EXISTS (SELECT 1 FROM settings WHERE name = ? AND value = ?)"


class SqlLedgerCopies:
    """See ``ports.ledger_desk``; ``database`` is not gated, since a restore goes through."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self) -> LedgerCopy:
        selects = [
            Statement(
                f"SELECT {_columns(name)} FROM {name} ORDER BY "
                + ("number" if table.numbered else table.keys[0])
            )
            for name, table in TABLES.items()
        ]
        count = Statement("SELECT COUNT(*) FROM migrations")
        marks, schema, *answers = await self._database.batch([MARKED, count, *selects])
        if marks:
            raise half_restored()
        tables = {name: _ordered(name, rows) for name, rows in zip(TABLES, answers, strict=True)}
        return LedgerCopy(int(schema[0][0]), tables)

    async def begin(self, token: str) -> bool:
        taken, *_ = await self._database.batch(
            [
                Statement(
                    "INSERT INTO settings (name, value) SELECT ?, ?"
                    " WHERE EXISTS (SELECT 1 FROM settings WHERE name = ?)"
                    " OR NOT EXISTS (SELECT 1 FROM events) AND NOT EXISTS (SELECT 1 FROM customers)"
                    " ON CONFLICT (name) DO UPDATE SET value = excluded.value RETURNING name",
                    (RESTORING, token, RESTORING),
                ),
                *(
                    Statement(f"DELETE FROM {name} WHERE {_OUR_TURN}", (RESTORING, token))
                    for name in TABLES
                ),
            ]
        )
        return bool(taken)

    async def put(self, token: str, rows: Sequence[DumpRow]) -> None:
        await self._database.batch([_insert(token, one) for one in rows])

    async def finish(self, token: str, counts: Mapping[str, int]) -> bool:
        same = " AND ".join(f"(SELECT COUNT(*) FROM {name}) = ?" for name in TABLES)
        (taken,) = await self._database.batch(
            [
                Statement(
                    f"DELETE FROM settings WHERE name = ? AND value = ? AND {same} RETURNING name",
                    (RESTORING, token, *(counts[name] for name in TABLES)),
                )
            ]
        )
        return bool(taken)


def _columns(table: str) -> str:
    return ", ".join(one.name for one in TABLES[table].columns)


def _ordered(name: str, rows: Sequence[Row]) -> list[tuple[Value, ...]]:
    """Text by code point everywhere: databases sort it in their own ways."""
    found = [tuple(row) for row in rows]
    return found if TABLES[name].numbered else sorted(found, key=lambda row: str(row[0]))


def _insert(token: str, row: DumpRow) -> Statement:
    marks = ", ".join(
        "?" if one.kind == "text" else "CAST(? AS BIGINT)" for one in TABLES[row.table].columns
    )
    return Statement(
        f"INSERT INTO {row.table} ({_columns(row.table)}) SELECT {marks} WHERE {_OUR_TURN}",
        (*row.values, RESTORING, token),
    )
