"""What a simulator keeps, in one SQLite file: opened whole or refused, changed whole or not."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class StateError(Exception):
    """The file is no state of this sandbox; the message says which file and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Layout:
    """Tables, and the number that a file of theirs carries.

    ``indexes`` only make things quicker: a file that was made before they were thought of gets them
    when it is opened.
    """

    number: int
    schema: str
    indexes: tuple[str, ...] = ()


class StateFile:
    """One connection under one lock: whoever uses it takes turns."""

    def __init__(self, path: Path | str, layout: Layout) -> None:
        """Open or create the file at ``path``; StateError when it holds something else."""
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as problem:
            raise _unreadable(path, problem) from problem
        self._connection.row_factory = sqlite3.Row
        try:
            # With a write-ahead log a killed process never leaves half a transaction.
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute("PRAGMA foreign_keys=ON")
            self._lay_out(path, layout)
        except sqlite3.Error as problem:
            self._connection.close()
            raise _unreadable(path, problem) from problem
        except StateError:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file; everything committed stays."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, alone; an exception rolls back. Inside another one it joins that."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _lay_out(self, path: Path | str, layout: Layout) -> None:
        with self.transaction():
            (number,) = self._connection.execute("PRAGMA user_version").fetchone()
            (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            if number == 0 and tables == 0:
                for statement in layout.schema.split(";\n"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {layout.number}")
            elif number != layout.number:
                message = f"{path} is not state of this version of the sandbox: choose another file"
                raise StateError("state-foreign", message)
            for statement in layout.indexes:
                self._connection.execute(statement)


def _unreadable(path: Path | str, problem: sqlite3.Error) -> StateError:
    message = f"{path} cannot be opened as sandbox state: {problem}"
    return StateError("state-unreadable", message)
