"""The tables of the licence state, and one licence's rows in them, sealed one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shimmy_vision.adapters.licence.kept_values import (
    EPOCH,
    MICROSECOND,
    moment_of,
    read_denial,
    stamp,
    write_denial,
)
from shimmy_vision.adapters.licence.process_owner import is_dead, this_owner
from shimmy_vision.domain.licence.metering import Batch
from shimmy_vision.domain.licence.seal import holds, seal, seal_key
from shimmy_vision.errors import LicenceStateError
from shimmy_vision.ports.licence_state import LicenceRecord, Pages

# 2 has the table of counted ids.
VERSION = 2
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS machine (slot INTEGER PRIMARY KEY CHECK (slot = 1), id TEXT)",
    "CREATE TABLE IF NOT EXISTS licences (name TEXT PRIMARY KEY, key TEXT, certificate TEXT,"
    " denial TEXT, latest_seen INTEGER, tried INTEGER, trouble TEXT, counted INTEGER,"
    " waiting INTEGER, reserved INTEGER, uncounted INTEGER, total INTEGER,"
    " sync_failed INTEGER, place TEXT, seal TEXT)",
    "CREATE TABLE IF NOT EXISTS pages (id TEXT PRIMARY KEY, licence TEXT, pages INTEGER,"
    " at INTEGER, owner TEXT, batch TEXT, seal TEXT)",
    "CREATE INDEX IF NOT EXISTS pages_in_order ON pages (licence, at)",
    "CREATE TABLE IF NOT EXISTS batches (licence TEXT PRIMARY KEY, id TEXT, pages INTEGER,"
    " uses_before INTEGER, period_start INTEGER, read_at INTEGER, doubted INTEGER, seal TEXT)",
    "CREATE TABLE IF NOT EXISTS counted (id TEXT PRIMARY KEY, licence TEXT, at INTEGER, seal TEXT)",
    "CREATE INDEX IF NOT EXISTS counted_in_order ON counted (at)",
)
# Of a process that cannot be looked at from here: longer than any analysis takes.
ORPHAN_AFTER = timedelta(hours=6)
# Who died between counting pages and telling of them comes again within one analysis.
COUNTED_FOR = timedelta(days=1)

_RECORD = (
    "certificate, denial, latest_seen, tried, trouble, counted, waiting, reserved, uncounted,"
    " total, sync_failed, place"
)
_PAGE = "id, pages, at, owner, batch"
_BATCH = "id, pages, uses_before, period_start, read_at, doubted"


class SqliteLicenceSession:
    """See ``ports.licence_state``; lives inside one transaction of ``connection``.

    A page with an ``owner`` is reserved by that process; without one it waits to be counted, and
    with a ``batch`` it has perhaps been.
    """

    def __init__(
        self, connection: sqlite3.Connection, name: str, key: str, fingerprint: str
    ) -> None:
        self._db = connection
        self._name = name
        self._licence_key = key
        self._fingerprint = fingerprint
        self._key = seal_key(key, fingerprint)
        self._kept, self._record = self._read()
        self._changed = False

    # The record

    @property
    def record(self) -> LicenceRecord:
        return self._record

    def update(self, **changes: Any) -> None:
        self._record = replace(self._record, **changes)
        self._changed = True

    def keep_key(self) -> None:
        others = "SELECT name, key FROM licences WHERE name != ? AND key IS NOT NULL"
        for name, key in self._db.execute(others, (self._name,)).fetchall():
            try:
                other = SqliteLicenceSession(self._db, name, key, self._fingerprint)
                other.forget_key()
                other.flush()
            except LicenceStateError:  # Sealed on another machine: it holds nothing here.
                self._db.execute("DELETE FROM licences WHERE name = ?", (name,))
                for table in ("pages", "batches", "counted"):
                    self._db.execute(f"DELETE FROM {table} WHERE licence = ?", (name,))
        self._kept, self._changed = self._licence_key, True

    def forget_key(self) -> None:
        self._kept, self._changed = None, True

    def flush(self) -> None:
        """Write the record if it changed; the last thing in a transaction."""
        if not self._changed:
            return
        fields = [self._kept, *_record_fields(self._record)]
        self._db.execute(
            f"INSERT OR REPLACE INTO licences (name, key, {_RECORD}, seal)"
            f" VALUES (?{', ?' * (len(fields) + 1)})",
            (self._name, *fields, self._seal("licence", fields)),
        )
        self._changed = False

    def _read(self) -> tuple[str | None, LicenceRecord]:
        row = self._one(f"SELECT key, {_RECORD}, seal FROM licences WHERE name = ?")
        if row is None:
            return None, LicenceRecord(self._name)
        self._check("licence", row)
        return row[0], _read_record(self._name, row[1:-1])

    def _shift(self, *, waiting: int = 0, reserved: int = 0) -> None:
        self.update(
            waiting=self._record.waiting + waiting, reserved=self._record.reserved + reserved
        )

    # Pages

    def waiting_since(self, moment: datetime) -> int:
        return sum(row[1] for row in self._pages("at >= ?", stamp(moment)))

    def oldest_waiting(self) -> datetime | None:
        rows = self._pages("owner = ''")
        return moment_of(rows[0][2]) if rows else None

    def reserve(self, pages: Pages) -> None:
        self._put(pages.id, pages.count, stamp(pages.at), this_owner(), "")
        self._shift(reserved=pages.count)

    def commit(self, pages: Pages) -> None:
        self.release(pages.id)
        if self.is_counted(pages.id):
            return
        self._put(pages.id, pages.count, stamp(pages.at), "", "")
        self._shift(waiting=pages.count)
        self._remember(pages)

    def tally(self, pages: Pages) -> None:
        if not self.is_counted(pages.id):
            self._remember(pages)

    def is_counted(self, pages: str) -> bool:
        # Those that wait, perhaps in a batch, may have waited for longer than is remembered.
        if any(not row[3] for row in self._pages("id = ?", pages)):
            return True
        row = self._db.execute(
            "SELECT id, at, seal FROM counted WHERE licence = ? AND id = ?", (self._name, pages)
        ).fetchone()
        if row is not None:
            self._check("counted", row)
        return row is not None

    def _remember(self, pages: Pages) -> None:
        self.update(total=self._record.total + pages.count)
        fields = (pages.id, stamp(pages.at))
        self._db.execute("DELETE FROM counted WHERE at < ?", (stamp(pages.at - COUNTED_FOR),))
        self._db.execute(
            "INSERT OR REPLACE INTO counted (licence, id, at, seal) VALUES (?, ?, ?, ?)",
            (self._name, *fields, self._seal("counted", fields)),
        )

    def release(self, pages: str) -> int:
        freed = self._drop([row for row in self._pages("id = ?", pages) if row[3]])
        if freed:
            self._shift(reserved=-freed)
        return freed

    def release_orphans(self, now: datetime) -> int:
        old = stamp(now - ORPHAN_AFTER)
        reserved = self._pages("owner != ''")
        freed = self._drop([row for row in reserved if is_dead(row[3]) or row[2] < old])
        self._shift(reserved=-freed)
        return freed

    def waiting(self, most: int) -> Sequence[Pages]:
        chosen: list[Pages] = []
        room = most
        for identifier, count, at, _owner, _batch in self._pages("owner = '' AND batch = ''"):
            if chosen and count > room:
                break
            room -= count
            chosen.append(Pages(identifier, count, EPOCH + at * MICROSECOND))
        return chosen

    def drop_before(self, moment: datetime) -> int:
        old = stamp(moment)
        late = [row for row in self._pages("owner = '' AND batch = ''") if row[2] < old]
        dropped = self._drop(late)
        self._shift(waiting=-dropped)
        self.update(uncounted=self._record.uncounted + dropped)
        return dropped

    def disown_pages(self) -> None:
        """Leave all pages to whoever wrote the file that this is a copy of."""
        for table in ("pages", "batches"):
            self._db.execute(f"DELETE FROM {table} WHERE licence = ?", (self._name,))
        given_up = self._record.uncounted + self._record.waiting
        if self._record.waiting or self._record.reserved:
            self.update(waiting=0, reserved=0, uncounted=given_up)

    def everything(self) -> tuple[list[tuple[Pages, bool]], list[tuple[Any, ...]]]:
        """All pages, each with whether it is only reserved, and the ids that were counted."""
        counted = "SELECT id, licence, at, seal FROM counted WHERE licence = ?"
        pages = [
            (Pages(identifier, count, EPOCH + at * MICROSECOND), bool(owner))
            for identifier, count, at, owner, _batch in self._pages("1")
        ]
        return pages, self._db.execute(counted, (self._name,)).fetchall()

    def know_counted(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Take ``rows`` of ``everything`` from another file of the same licence."""
        self._db.executemany("INSERT OR IGNORE INTO counted VALUES (?, ?, ?, ?)", rows)

    def settle_in(self, place: str) -> None:
        """Note where the file is; disown its pages if it was somewhere else before.

        A copied folder, a restored backup, an image with a state in it: whoever has the other one
        reports those pages too.
        """
        if self._record.place not in ("", place):
            self.disown_pages()
        if self._record.place != place:
            self.update(place=place)

    # Batches

    def batch(self) -> Batch | None:
        row = self._one(f"SELECT {_BATCH}, seal FROM batches WHERE licence = ?")
        if row is None:
            return None
        self._check("batch", row)
        identifier, pages, uses_before, period_start, read_at, doubted, _ = row
        read = EPOCH + read_at * MICROSECOND
        start, missed = moment_of(period_start), moment_of(doubted)
        return Batch(identifier, pages, uses_before, start, read, missed)

    def open_batch(self, batch: Batch, pages: Sequence[Pages]) -> None:
        self._write_batch(batch)
        for one in pages:
            self._put(one.id, one.count, stamp(one.at), "", batch.id)

    def doubt_batch(self, moment: datetime) -> None:
        batch = self.batch()
        if batch is not None and batch.doubted is None:
            self._write_batch(replace(batch, doubted=moment))

    def _write_batch(self, batch: Batch) -> None:
        start = None if batch.period_start is None else stamp(batch.period_start)
        missed = None if batch.doubted is None else stamp(batch.doubted)
        read = stamp(batch.read_at)
        fields = [batch.id, batch.pages, batch.uses_before, start, read, missed]
        self._db.execute(
            f"INSERT OR REPLACE INTO batches (licence, {_BATCH}, seal)"
            f" VALUES (?{', ?' * (len(fields) + 1)})",
            (self._name, *fields, self._seal("batch", fields)),
        )

    def close_batch(self, *, applied: bool) -> int:
        batch = self.batch()
        if batch is None:
            return 0
        rows = self._pages("batch = ?", batch.id)
        if applied:
            self._shift(waiting=-self._drop(rows))
        else:
            for identifier, count, at, owner, _batch in rows:
                self._put(identifier, count, at, owner, "")
        self._db.execute("DELETE FROM batches WHERE licence = ?", (self._name,))
        return sum(row[1] for row in rows)

    # Integrity

    def check_everything(self) -> None:
        """Read every row of this licence; LicenceStateError unless all seals hold and sums agree.

        A row that was removed by hand leaves its seal nowhere to fail: the sums tell.
        """
        record, batch = self.record, self.batch()
        rows = self._pages("1")
        waiting = sum(row[1] for row in rows if not row[3])
        reserved = sum(row[1] for row in rows if row[3])
        sent = sum(row[1] for row in rows if row[4])
        wrong_batch = any(row[4] not in ("", batch.id if batch else "") for row in rows)
        if (waiting, reserved) != (record.waiting, record.reserved) or wrong_batch:
            raise damaged()
        if sent != (batch.pages if batch else 0):
            raise damaged()

    def _pages(self, condition: str, *values: object) -> list[tuple[Any, ...]]:
        rows = self._db.execute(
            f"SELECT {_PAGE}, seal FROM pages WHERE licence = ? AND {condition} ORDER BY at, id",
            (self._name, *values),
        ).fetchall()
        for row in rows:
            self._check("pages", row)
        return [row[:-1] for row in rows]

    def _put(self, *fields: object) -> None:
        self._db.execute(
            f"INSERT OR REPLACE INTO pages (licence, {_PAGE}, seal) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (self._name, *fields, self._seal("pages", fields)),
        )

    def _drop(self, rows: Sequence[tuple[Any, ...]]) -> int:
        self._db.executemany("DELETE FROM pages WHERE id = ?", [(row[0],) for row in rows])
        return sum(row[1] for row in rows)

    def _one(self, sql: str) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._db.execute(sql, (self._name,)).fetchone()
        return row

    def _seal(self, kind: str, fields: Sequence[object]) -> str:
        return seal(self._key, kind, [self._name, *fields])

    def _check(self, kind: str, row: Sequence[Any]) -> None:
        # Anything but text, integers and None was never written here, and JSON may not take it.
        whole = all(one is None or isinstance(one, str | int) for one in row)
        if not whole or not holds(self._key, kind, [self._name, *row[:-1]], row[-1]):
            raise damaged()


def damaged() -> LicenceStateError:
    """The record was altered, or a disk lost part of it."""
    return LicenceStateError(
        "licence-state-damaged",
        "What is kept of the licence on this machine was altered or damaged.",
        hint="Activate again, which sets it aside: shimmy license activate KEY",
    )


def _record_fields(record: LicenceRecord) -> list[object]:
    return [
        record.certificate,
        None if record.denial is None else write_denial(record.denial),
        None if record.latest_seen is None else stamp(record.latest_seen),
        None if record.tried is None else stamp(record.tried),
        record.trouble,
        record.counted,
        record.waiting,
        record.reserved,
        record.uncounted,
        record.total,
        None if record.sync_failed is None else stamp(record.sync_failed),
        record.place,
    ]


def _read_record(name: str, row: Sequence[Any]) -> LicenceRecord:
    certificate, denial, latest_seen, tried, trouble, counted, *rest = row
    waiting, reserved, uncounted, total, sync_failed, place = rest
    return LicenceRecord(
        name=name,
        certificate=certificate,
        denial=None if denial is None else read_denial(denial),
        latest_seen=moment_of(latest_seen),
        tried=moment_of(tried),
        trouble=trouble,
        counted=counted,
        waiting=waiting,
        reserved=reserved,
        uncounted=uncounted,
        total=total,
        sync_failed=moment_of(sync_failed),
        place=place,
    )
