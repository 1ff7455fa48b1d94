"""The ``LicenceState`` port: one SQLite file, readable by its owner alone, every row sealed.

A session is one immediate transaction, so twenty processes queue up and a kill at any point leaves
all of a session or none of it. The write-ahead log makes a commit cost microseconds; only what must
survive a power cut (an increment about to be sent) waits for the disk.
"""

from __future__ import annotations

import sqlite3
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from shimmy_vision.adapters.licence_tables import (
    SCHEMA,
    VERSION,
    SqliteLicenceSession,
    damaged,
)
from shimmy_vision.domain.licence.seal import licence_name
from shimmy_vision.errors import LicenceStateError
from shimmy_vision.ports.licence_state import LicenceSession

_BUSY_SECONDS = 30.0
_UNUSABLE = frozenset({"SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH"})


class SqliteLicenceState:
    """``account`` and the fingerprint say whose licences these are.

    ``busy_seconds`` is how long another process's transaction is waited for.
    """

    def __init__(self, path: Path, account: str, *, busy_seconds: float = _BUSY_SECONDS) -> None:
        self._busy_seconds = busy_seconds
        self._path = path
        self._account = account
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._durable = True
        self._checked: set[str] = set()
        self._fingerprint = ""
        self._inode: int | None = None

    @property
    def durable(self) -> bool:
        with self._lock, self._errors():
            self._open()
        return self._durable

    def use_fingerprint(self, fingerprint: str) -> None:
        """Whose records these are from now on; before any session."""
        self._fingerprint = fingerprint

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection = None
            self._checked.clear()

    def machine_id(self) -> str:
        """An id made once and kept here, for machines that have none of their own."""
        with self._lock, self._errors(), self._transaction() as connection:
            fresh = uuid.uuid4().hex
            connection.execute("INSERT OR IGNORE INTO machine VALUES (1, ?)", (fresh,))
            return str(connection.execute("SELECT id FROM machine").fetchone()[0])

    def kept_key(self) -> str | None:
        with self._lock, self._errors():
            row = self._open().execute("SELECT key FROM licences WHERE key IS NOT NULL").fetchone()
        return None if row is None else str(row[0])

    @contextmanager
    def session(self, key: str, *, durable: bool = False) -> Iterator[LicenceSession]:
        name = licence_name(key, self._account, self._fingerprint)
        with self._lock, self._errors(), self._transaction(durable=durable) as connection:
            session = SqliteLicenceSession(connection, name, key, self._fingerprint)
            if name not in self._checked:
                session.check_everything()
                self._checked.add(name)
            yield session
            session.flush()

    @contextmanager
    def alone(self, wait: float) -> Iterator[bool]:
        if not self.durable:
            yield True
            return
        lock = FileLock(self._path.with_suffix(".lock"), mode=0o600)
        try:
            lock.acquire(timeout=wait)
        except (Timeout, OSError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def set_aside(self) -> None:
        with self._lock, self._errors():
            opened = self._inode
            self.close()
            if opened != _inode_of(self._path):
                return  # Another process has done it, and what is there now is sound.
            mark = uuid.uuid4().hex[:8]
            for suffix in ("", "-wal", "-shm"):
                place = self._path.with_name(self._path.name + suffix)
                if place.exists():
                    place.replace(place.with_name(f"{place.name}.damaged-{mark}"))

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        connection = self._open()
        if durable:
            connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        else:
            connection.execute("COMMIT")
        finally:
            if durable:
                connection.execute("PRAGMA synchronous=NORMAL")

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        try:
            self._connection = self._open_file()
        except (OSError, sqlite3.OperationalError) as error:
            if isinstance(error, sqlite3.Error) and error.sqlite_errorname not in _UNUSABLE:
                raise
            self._durable = False
            self._connection = self._open_memory()
        return self._connection

    def _open_file(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.touch(mode=0o600)
        if self._path.stat().st_mode & 0o077:
            self._path.chmod(0o600)
        with self._path.open("r+b"):
            pass  # SQLite would open a file that it may only read, and fail at the first write.
        self._inode = _inode_of(self._path)
        connection = self._connect(str(self._path))
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_memory(self) -> sqlite3.Connection:
        """Read-only disks, as containers have: what is there is read, what is new is not kept."""
        connection = self._connect(":memory:")
        if self._path.is_file():
            address = f"{self._path.absolute().as_uri()}?immutable=1"
            with closing(sqlite3.connect(address, uri=True)) as kept:
                kept.backup(connection)
        self._prepare(connection)
        return connection

    def _connect(self, place: str) -> sqlite3.Connection:
        return sqlite3.connect(
            place, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("PRAGMA foreign_keys=ON")
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found > VERSION:
            raise LicenceStateError(
                "licence-state-newer",
                "The licence record was written by a newer Shimmy Vision.",
                hint="Update this one, or set SHIMMY_STATE_DIR to another folder.",
            )
        if found < VERSION:
            connection.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version={VERSION}")
            connection.execute("COMMIT")
        if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise damaged()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except OSError as error:
            raise LicenceStateError(
                "licence-state-not-written",
                f"The licence record cannot be used: {error.strerror or error}.",
                hint="Free disk space, or name a folder of your own: SHIMMY_STATE_DIR.",
            ) from error

    def _translated(self, error: sqlite3.Error) -> LicenceStateError:
        name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT").split("_")
        kind = "_".join(name[:2])
        if kind in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            return LicenceStateError(
                "licence-state-busy",
                "Another program has kept the licence record locked for half a minute.",
                hint="Try again; if it persists, end the other shimmy processes.",
            )
        if kind in ("SQLITE_FULL", "SQLITE_IOERR", *_UNUSABLE):
            return LicenceStateError(
                "licence-state-not-written",
                f"The licence record cannot be written: {error}.",
                hint="Free disk space, or name a folder of your own: SHIMMY_STATE_DIR.",
            )
        return damaged()


def _inode_of(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except OSError:
        return None
