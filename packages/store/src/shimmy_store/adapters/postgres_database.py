"""The ``Database`` port on a PostgreSQL server. Needs the store's extra ``postgresql``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Dialect, Row, Statement

_Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]
_Address: TypeAlias = Mapping[str, str | int | None]

_CONNECTIONS = 4
_TRIES = 16
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 0.25
# Everything that a batch waits for, its turn and its repetitions included.
_BATCH_SECONDS = 30
# What an address may say otherwise. A host that is gone without a word is noticed, too.
_DEFAULTS: _Address = {
    "connect_timeout": 10,
    "tcp_user_timeout": 10_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "fallback_application_name": "shimmy-store",
}
# One message, so that it costs one round trip, and good behind a pooler that changes sessions
# between transactions. REPEATABLE READ: the statements of one batch ask, one after the other,
# whether a lease is still ours. Under READ COMMITTED each would see another moment, and a lease
# lost in between would leave half a batch; so all see the moment of the first one, and if what they
# write has changed since, the batch is undone and runs again. The timeouts are the server's: a
# program that is gone holds up nobody.
_BEGIN = b"""BEGIN ISOLATION LEVEL REPEATABLE READ;
SET LOCAL statement_timeout = '10s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"""


class PostgresDatabase:
    """A few connections, made when they are needed and again when they are lost.

    No pool of others': after the server's restart the next batch has to work at once, and one that
    does not has to say why.
    """

    dialect: Dialect = "postgresql"

    def __init__(self, url: str) -> None:
        self._address = _read_address(url)
        self._turns = asyncio.Semaphore(_CONNECTIONS)
        self._idle: list[_Connection] = []
        self._running: set[asyncio.Task[list[list[Row]]]] = set()

    @classmethod
    async def open(cls, url: str) -> PostgresDatabase:
        """One whose server answers. Raises LedgerError, which never shows the URL."""
        database = cls(url)
        await database.batch([])
        return database

    async def batch(self, statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
        # Shielded: a caller that goes away does not leave a batch half understood.
        task = asyncio.create_task(self._batch(statements))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        while self._running:
            await asyncio.wait(self._running)
        while self._idle:
            await self._idle.pop().close()

    async def _batch(self, statements: Sequence[Statement]) -> list[list[Row]]:
        with _errors():
            async with asyncio.timeout(_BATCH_SECONDS):
                for failed in range(1, _TRIES):
                    # Nothing of it was kept, and another moment may suit it better.
                    with suppress(
                        psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected
                    ):
                        return await self._run(statements)
                    await asyncio.sleep(_pause(failed))
                return await self._run(statements)

    async def _run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        async with self._turns:
            connection = await self._begin()
            try:
                rows = [await _fetch(connection, one) for one in statements]
                await connection.commit()
                return rows
            finally:
                await self._put_back(connection)

    async def _begin(self) -> _Connection:
        """A transaction; on a new connection where the idle ones turn out to be lost."""
        while True:
            fresh = not self._idle
            connection = await _connect(self._address) if fresh else self._idle.pop()
            try:
                await connection.execute(_BEGIN)
            except BaseException as error:
                await connection.close()
                if fresh or not isinstance(error, psycopg.OperationalError):
                    raise
            else:
                return connection

    async def _put_back(self, connection: _Connection) -> None:
        """Idle again if it is sound; a transaction that failed is undone."""
        with suppress(psycopg.Error):
            await connection.rollback()
        if connection.info.transaction_status is TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            await connection.close()


def _read_address(url: str) -> _Address:
    """Raises LedgerError for an address that would show part of a password in later errors.

    With an ``@`` or ``/`` in it that is not escaped, a password ends in the host, the port or the
    database's name.
    """
    with suppress(psycopg.ProgrammingError):
        address = conninfo_to_dict(url)
        ports = str(address.get("port", "")).replace(",", "")
        shown = f"{address.get('host', '')} {address.get('dbname', '')}"
        if "@" not in shown and (not ports or ports.isdecimal()):
            return {**_DEFAULTS, **address, "client_encoding": "utf8"}
    raise LedgerError(
        "ledger-unusable",
        "The ledger's address is none that PostgreSQL understands.",
        hint="Write postgresql://user:password@host:port/name, with %40 for an @ and %2F for a /"
        " in the password.",
    )


async def _connect(address: _Address) -> _Connection:
    # Values are written into the statements by the client: the server would ask for the type of
    # each one where our SQL does not tell, and could not be asked in one message.
    return await psycopg.AsyncConnection.connect(
        **address,  # type: ignore[arg-type]
        autocommit=True,
        cursor_factory=psycopg.AsyncClientCursor,
    )


async def _fetch(connection: _Connection, statement: Statement) -> list[Row]:
    sql, values = statement
    if "%" in sql or sql.count("?") != len(values):
        raise ValueError(f"Not a statement with one ? for each value: {sql}")
    # As bytes, which psycopg takes from anywhere; it wants literal text otherwise.
    cursor = await connection.execute(sql.replace("?", "%s").encode(), values)
    return await cursor.fetchall() if cursor.description else []


def _pause(failed: int) -> float:
    """Longer each time, and by chance, so that two that met do not meet again."""
    longest = min(_PAUSE_SECONDS * 2**failed, _LONGEST_PAUSE_SECONDS)
    return random.uniform(0, longest)  # noqa: S311 - jitter is no secret


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (psycopg.Error, TimeoutError) as error:
        raise LedgerError(
            "ledger-unusable",
            f"The ledger cannot be used: {_reason(error)}.",
            hint="Check that PostgreSQL runs, and that its address and password are right.",
            retryable=True,
        ) from error


def _reason(error: Exception) -> str:
    """Its first line: the others may show a row's values."""
    if isinstance(error, TimeoutError):
        return f"no answer in {_BATCH_SECONDS} seconds"
    return str(error).partition("\n")[0].rstrip(".")
