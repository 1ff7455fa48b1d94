"""The ``Database`` port on a SQLite file."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import FORGETS, Dialect, Row, Statement

_BUSY_SECONDS = 10
_AGAIN_SECONDS = 0.01
# Pyodide has one and no way to more.
_HAS_THREADS = sys.platform != "emscripten"


class SqliteDatabase:
    """One connection, on a thread of its own so that a disk never holds up the event loop.

    Without ``on_thread`` whoever asks waits for the disk: for hosts that have no threads.
    """

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path | str, *, on_thread: bool = _HAS_THREADS) -> None:
        self._thread: ThreadPoolExecutor | None = None
        if on_thread:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
            self._connection = self._thread.submit(_connect, path).result()
        else:
            self._connection = _connect(path)

    async def batch(self, statements: Sequence[Statement]) -> Sequence[Sequence[Row]]:
        if self._thread is None:
            return self._run(statements)
        loop = asyncio.get_running_loop()
        # Shielded: a caller that goes away does not leave a batch half understood.
        return await asyncio.shield(loop.run_in_executor(self._thread, self._run, statements))

    async def close(self) -> None:
        if self._thread is None:
            self._connection.close()
            return
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._connection.close)
        self._thread.shutdown()

    def _run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        with _errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                rows = [self._connection.execute(*one).fetchall() for one in statements]
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            if any(one.sql.startswith(FORGETS) for one in statements):
                # Else the journal keeps the old pages until a thousand new ones are written.
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return rows


def _connect(path: Path | str) -> sqlite3.Connection:
    if str(path) != ":memory:":
        # Addresses are in it. SQLite's other files get the mode of this one.
        with suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    with _errors():
        connection = sqlite3.connect(
            path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        _write_ahead(connection)
        # An event is acknowledged to Stripe once it is here: it must survive a power cut.
        connection.execute("PRAGMA synchronous=FULL")
        # Who is erased is gone from the file, too: old bytes stay in it otherwise.
        connection.execute("PRAGMA secure_delete=ON")
        return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Where two begin a file at once SQLite refuses one of them at once, whatever its patience."""
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        time.sleep(_AGAIN_SECONDS)


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise LedgerError(
            "ledger-unusable",
            f"The ledger cannot be used: {error}.",
            hint="Check that its folder exists, is writable and has room.",
            retryable=True,
        ) from error
