"""The ``Database`` port on Cloudflare's D1, whichever way its batches go there.

D1 gives rows as objects, so that two columns of one name would be one: no statement of ours has
such. A number is a float there until a column or a CAST of an integer type takes it, exact up to
2**53; the microseconds of our times reach that in the year 2255.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Protocol

from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Dialect, Row, Statement

# What D1 takes: https://developers.cloudflare.com/d1/platform/limits/
MOST_VALUES = 100
MOST_SQL_BYTES = 100_000
MOST_VALUE_BYTES = 2_000_000
_EXACT = 2**53
# What no second try mends.
_FOR_GOOD = ("SQLITE_TOOBIG", "too many SQL variables", "D1_TYPE_ERROR", "SQLITE_MISMATCH")


class D1Failure(Exception):  # noqa: N818 - what D1 said, not yet what it means to us
    """The words of D1, or of the way there; they name tables and columns, and no values."""


class D1Wire(Protocol):
    """Takes ``[[sql, [value, …]], …]`` and gives ``[[{column: value}, …], …]``, both as JSON.

    JSON, because it is the same on both sides of every border: ``None`` is ``null`` on all of them,
    and a whole number has no fraction. All statements are one transaction. Raises D1Failure.
    """

    async def __call__(self, batch: str) -> str: ...


class D1Database:
    """See ``ports.database``. It holds no connection."""

    dialect: Dialect = "sqlite"

    def __init__(self, wire: D1Wire) -> None:
        self._wire = wire
        self._running: set[asyncio.Task[list[list[Row]]]] = set()

    async def batch(self, statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
        if not statements:
            return []
        for one in statements:
            _check(one)
        # Shielded: a caller that goes away does not leave a batch half understood.
        task = asyncio.create_task(self._run(json.dumps(statements)))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        while self._running:
            await asyncio.wait(self._running)

    async def _run(self, batch: str) -> list[list[Row]]:
        try:
            answer = await self._wire(batch)
        except D1Failure as error:
            raise _unusable(error) from error
        return [[tuple(row.values()) for row in rows] for rows in json.loads(answer)]


def _check(statement: Statement) -> None:
    """Before anything is sent: D1 says the same less clearly, or changes a number and says nothing.

    Raises LedgerError.
    """
    sql, values = statement
    if len(values) > MOST_VALUES or len(sql.encode()) > MOST_SQL_BYTES:
        raise _too_large(f"a statement with {len(values)} values and {len(sql)} characters")
    for value in values:
        if isinstance(value, int) and abs(value) > _EXACT:
            raise _too_large("a number above 2**53")
        if isinstance(value, str) and len(value.encode("utf-8", "replace")) > MOST_VALUE_BYTES:
            raise _too_large(f"a text of {len(value)} characters")


def _too_large(what: str) -> LedgerError:
    return LedgerError(
        "ledger-value-too-large",
        f"The ledger cannot take {what}: D1 has limits.",
        hint="A ledger on PostgreSQL takes it: docs/deploy.md.",
    )


def _unusable(error: D1Failure) -> LedgerError:
    told = str(error).partition("\n")[0].rstrip(".")
    return LedgerError(
        "ledger-unusable",
        f"The ledger cannot be used: {told}.",
        hint="Check that the D1 database exists and its migrations are applied: docs/deploy.md.",
        retryable=not any(one in told for one in _FOR_GOOD),
    )
