"""The ``LicenceState`` port: one SQLite file, readable by its owner alone, every row sealed.

A session is one immediate transaction, so twenty processes queue up and a kill at any point leaves
all of a session or none of it. The write-ahead log makes a commit cost microseconds; only what must
survive a power cut (an increment about to be sent) waits for the disk.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from shimmy_vision.adapters.licence.kept_machine_id import (
    is_machine_id,
    keep_machine_id,
    new_machine_id,
)
from shimmy_vision.adapters.licence.left_disk import LeftDisk
from shimmy_vision.adapters.licence.licence_state_errors import UNUSABLE, kind_of, translated
from shimmy_vision.adapters.licence.licence_tables import (
    SCHEMA,
    VERSION,
    SqliteLicenceSession,
    damaged,
)
from shimmy_vision.adapters.licence.private_files import file_identity, keep_private
from shimmy_vision.domain.licence.seal import licence_name
from shimmy_vision.errors import LicenceStateError

_BUSY_SECONDS = 30.0
_READ_ONLY = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}
)


class SqliteLicenceState:
    """``account`` and ``use_fingerprint`` say whose licences these are.

    ``busy_seconds`` is how long another process that holds the file is waited for; ``host`` names
    the container, where files of different containers may look like one.
    """

    def __init__(
        self, path: Path, account: str, *, busy_seconds: float = _BUSY_SECONDS, host: str = ""
    ) -> None:
        self._host = host
        self._path = path
        self._account = account
        self._busy_seconds = busy_seconds
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._durable = True
        self._left: LeftDisk | None = None
        self._sharing = 0
        self._checked: set[str] = set()
        self._fingerprint = ""
        self._file: tuple[int, int] | None = None
        self._machine_id: str | None = None
        # What is in the file is damaged, and only setting it aside ends that.
        self._refused = False
        self._ignore_file = False
        self._unreadable = False

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
        """An id made once and kept here, for machines that have none of their own.

        A damaged file does not stop it, so that a licence can be activated anew: the id is saved
        from the damage if it can be read, and goes into the next file. All else is refused.
        """
        with self._lock, self._errors():
            try:
                with self._transaction() as connection:
                    self._machine_id = keep_machine_id(connection, self._machine_id)
            except (sqlite3.Error, UnicodeError, LicenceStateError) as error:
                if translated(error, self._busy_seconds).code != "licence-state-damaged":
                    raise
                self._refused = True
                self._machine_id = self._machine_id or self._salvaged_machine_id()
            return self._machine_id

    def kept_key(self) -> str | None:
        return next((key for key, ours in self._kept_keys() if ours), None)

    def foreign_key(self) -> str | None:
        return next((key for key, ours in self._kept_keys() if not ours), None)

    def leave_disk(self) -> None:
        with self._lock, self._errors():
            self.close()
            self._durable, self._left = False, LeftDisk()
            self._connection = self._open_memory()

    @property
    def left_disk(self) -> bool:
        return self._left is not None

    def try_disk_again(self, key: str) -> None:
        with self._lock, self._errors():
            if self._left is not None and self._left.is_due() and not self._sharing:
                self._return_to_disk(key, self._left)

    def _return_to_disk(self, key: str, left: LeftDisk) -> None:
        """All of it or nothing: until the file has taken it, memory stays as it is."""
        memory, name = self._connection, self._name_of(key)
        if memory is None:
            return
        moved = SqliteLicenceSession(memory, name, key, self._fingerprint)
        others = "SELECT 1 FROM pages WHERE licence != ? LIMIT 1"
        # An increment in doubt is settled where it was begun.
        if moved.batch() is not None or memory.execute(others, (name,)).fetchone() is not None:
            return
        checked, self._connection, self._left = self._checked, None, None
        self._durable, self._checked = True, set()
        returned = False
        try:
            with suppress(LicenceStateError):
                with self.session(key, durable=True) as session:
                    left.carry_over(moved, session)
                returned = self._durable
        finally:
            if not returned:
                self.close()
                self._durable, self._left = False, left
                self._connection, self._checked = memory, checked
        if returned:
            memory.close()

    def _kept_keys(self) -> list[tuple[str, bool]]:
        """Keys, each with whether it was activated on this machine."""
        with self._lock, self._errors():
            connection = self._open()
            if self._unreadable:
                raise LicenceStateError(
                    "licence-state-unreadable",
                    "The licence record belongs to another user and cannot be read.",
                    hint="Was shimmy run with sudo? Give the state folder back to its owner, or "
                    "name another one: SHIMMY_STATE_DIR.",
                )
            rows = connection.execute(
                "SELECT name, key FROM licences WHERE key IS NOT NULL"
            ).fetchall()
        if not all(isinstance(one, str) for row in rows for one in row):
            raise damaged()
        return [(key, name == self._name_of(key)) for name, key in rows]

    def _name_of(self, key: str) -> str:
        return licence_name(key, self._account, self._fingerprint)

    @contextmanager
    def session(self, key: str, *, durable: bool = False) -> Iterator[SqliteLicenceSession]:
        name = self._name_of(key)
        with self._lock, self._errors(), self._transaction(durable=durable) as connection:
            session = SqliteLicenceSession(connection, name, key, self._fingerprint)
            if name not in self._checked:
                session.check_everything()
                if self._durable:
                    session.settle_in(self._place())
                else:
                    # Every process that reads this file would report them again.
                    session.disown_pages()
                    if self._left is not None:
                        self._left.totals.setdefault(name, session.record.total)
                self._checked.add(name)
            yield session
            session.flush()

    @contextmanager
    def alone(self, wait: float) -> Iterator[bool]:
        if not self.durable:
            # Who reports pages from memory must not find itself on the disk, without its lock.
            self._sharing += 1
            try:
                yield True
            finally:
                self._sharing -= 1
            return
        lock = FileLock(self._beside(".lock"), mode=0o600)
        with self._errors(), suppress(Timeout):
            lock.acquire(timeout=wait)
        try:
            yield lock.is_locked
        finally:
            lock.release()

    def set_aside(self) -> None:
        with self._lock, self._errors():
            self.close()
            self._refused = False
            if not self._durable:
                self._ignore_file = True
                return
            with self._opening():
                if self._file != file_identity(self._path):
                    return  # Another process has done it, and what is there now is sound.
                mark = uuid.uuid4().hex[:8]
                for place in self._files():
                    if place.exists():
                        place.replace(place.with_name(f"{place.name}.damaged-{mark}"))

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[sqlite3.Connection]:
        connection = self._open()
        if durable:
            connection.execute("PRAGMA synchronous=FULL")
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # A full disk ends a transaction by itself, or it leaves it open after COMMIT.
            if connection.in_transaction:
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise
        finally:
            if durable:
                connection.execute("PRAGMA synchronous=NORMAL")

    def _open(self) -> sqlite3.Connection:
        if self._refused:
            raise damaged()
        if (
            self._connection is not None
            and self._durable
            and self._file != file_identity(self._path)
        ):
            self.close()  # Another process has set this file aside, or somebody removed it.
        if self._connection is not None:
            return self._connection
        self._durable = True
        try:
            self._connection = self._open_file()
        except OSError as error:
            if error.errno not in _READ_ONLY:
                raise
        except sqlite3.OperationalError as error:
            if kind_of(error) not in UNUSABLE:
                raise
        if self._connection is None:
            self._durable = False
            self._connection = self._open_memory()
        return self._connection

    def _open_file(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._opening():
            with suppress(FileExistsError):
                self._path.touch(mode=0o600, exist_ok=False)
            keep_private(self._files(), (self._beside(".lock"), self._beside(".opening")))
            connection = self._connect(str(self._path))
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            finally:
                # Only now: layered file systems copy a file when it is first opened to be written.
                self._file = file_identity(self._path)
            return connection

    def _open_memory(self) -> sqlite3.Connection:
        """Read-only disks, as containers have: what is there is read, what is new is not kept."""
        connection = self._connect(":memory:")
        try:
            if self._path.is_file() and not self._ignore_file:
                self._read_file_into(connection)
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _read_file_into(self, connection: sqlite3.Connection) -> None:
        if not os.access(self._path, os.R_OK):
            self._unreadable = True
            return
        with suppress(OSError), tempfile.TemporaryDirectory() as folder:
            # A process that was killed left its latest changes in the log beside the file, which
            # SQLite reads only where it may write.
            copy = Path(folder, self._path.name)
            for place in self._files():
                if place.exists() and not place.name.endswith("-shm"):
                    shutil.copyfile(place, copy.with_name(place.name))
            with closing(self._connect(str(copy))) as kept:
                kept.backup(connection)
                return
        for how in ("mode=ro", "immutable=1"):
            with (
                suppress(sqlite3.OperationalError),
                closing(self._connect_reading(how)) as kept,
            ):
                kept.backup(connection)
                return

    def _place(self) -> str:
        # Not the device: some file systems get another number with every mount.
        return f"{self._host}:{self._file[1] if self._file else 0}"

    def _connect_reading(self, how: str) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._path.absolute().as_uri()}?{how}", uri=True)

    def _connect(self, place: str) -> sqlite3.Connection:
        return sqlite3.connect(
            place, timeout=self._busy_seconds, isolation_level=None, check_same_thread=False
        )

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA secure_delete=ON")
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
        # Not quick_check: an index that lacks a row makes the row invisible, its seal intact.
        if connection.execute("PRAGMA integrity_check").fetchone()[0] != "ok":
            raise damaged()
        if self._machine_id is not None:
            keep_machine_id(connection, self._machine_id)

    def _salvaged_machine_id(self) -> str:
        with (
            suppress(sqlite3.Error, UnicodeError),
            closing(self._connect_reading("mode=ro")) as connection,
        ):
            row = connection.execute("SELECT id FROM machine").fetchone()
            if row is not None and is_machine_id(row[0]):
                return str(row[0])
        return new_machine_id()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """One process at a time opens the file or sets it aside, so that neither sees half.

        Nor would SQLite wait where two make one file a database with a write-ahead log.
        """
        with FileLock(
            self._beside(".opening"), timeout=self._busy_seconds, mode=0o600, poll_interval=0.01
        ):
            yield

    def _files(self) -> Iterator[Path]:
        for suffix in ("", "-wal", "-shm"):
            yield self._path.with_name(self._path.name + suffix)

    def _beside(self, suffix: str) -> Path:
        return self._path.with_suffix(suffix)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, UnicodeError) as error:
            # The last where SQLite quotes in its message what is no text any more.
            raise translated(error, self._busy_seconds) from error
