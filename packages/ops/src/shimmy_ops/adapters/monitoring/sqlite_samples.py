"""The ``SampleBook`` port: one SQLite file, a row a sample, details packed."""

from __future__ import annotations

import json
import math
import os
import sqlite3
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from shimmy_ops.domain.monitoring.samples import Sample, findings_document, parse_findings
from shimmy_ops.domain.monitoring.store_metrics import Scrape
from shimmy_ops.errors import MonitorError

_SCHEMA = 1
_TABLE = (
    "CREATE TABLE IF NOT EXISTS samples ("
    "number INTEGER PRIMARY KEY, at REAL NOT NULL, every REAL NOT NULL, up INTEGER NOT NULL,"
    " seconds REAL NOT NULL, born REAL, counters BLOB, gauges TEXT, findings BLOB NOT NULL)"
)
_INDEX = "CREATE INDEX IF NOT EXISTS samples_at ON samples (at)"
_COLUMNS = "at, every, up, seconds, born, counters, gauges, findings"
_PATIENCE_SECONDS = 15


class SqliteSamples:
    """A connection an act: threads and programs may share the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, sample: Sample) -> None:
        scrape = sample.scrape
        row = (
            sample.at.timestamp(),
            sample.every,
            int(sample.up),
            sample.seconds,
            None if scrape is None else scrape.born,
            None if scrape is None else _packed(dict(scrape.counters)),
            None if scrape is None else json.dumps(dict(scrape.gauges)),
            _packed(findings_document(sample.findings)),
        )
        with self._open() as connection:
            connection.execute(
                f"INSERT INTO samples ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - our own names
                row,
            )

    def since(self, start: datetime, until: datetime | None = None) -> Iterator[Sample]:
        asked = f"SELECT {_COLUMNS} FROM samples WHERE at BETWEEN ? AND ? ORDER BY at, number"  # noqa: S608 - our own names
        end = math.inf if until is None else until.timestamp()
        with self._open() as connection:
            for row in connection.execute(asked, (start.timestamp(), end)):
                yield _sample(row)

    def prune(self, before: datetime) -> None:
        with self._open() as connection:
            connection.execute("DELETE FROM samples WHERE at < ?", (before.timestamp(),))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Made by us before SQLite would make it readable for others.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            with closing(sqlite3.connect(self._path, timeout=_PATIENCE_SECONDS)) as connection:
                _prepare(connection, self._path)
                with connection:
                    yield connection
        except (sqlite3.Error, OSError, ValueError, TypeError, zlib.error) as error:
            raise MonitorError(
                "samples-unusable",
                f"{self._path} cannot be used: {type(error).__name__}.",
                hint="If it is damaged, move it away: the next sample makes a new one.",
            ) from error


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA:
        raise MonitorError(
            "samples-newer",
            f"{path} was made by a newer shimmy-ops.",
            hint="Use that one, or move the file away.",
        )
    if version < _SCHEMA:
        _write_ahead(connection)
        with connection:
            connection.execute(_TABLE)
            connection.execute(_INDEX)
            connection.execute(f"PRAGMA user_version = {_SCHEMA}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Where two begin a file at once SQLite refuses one of them at once, whatever its patience."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)


def _packed(document: object) -> bytes:
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode())


def _sample(row: tuple[float, float, int, float, float | None, bytes, str, bytes]) -> Sample:
    at, every, up, seconds, born, counters, gauges, findings = row
    scrape = None
    if born is not None:
        read = json.loads(zlib.decompress(counters))
        # A month has a hundred thousand times the same few names.
        named = {sys.intern(name): value for name, value in read.items()}
        scrape = Scrape(born, named, json.loads(gauges))
    return Sample(
        datetime.fromtimestamp(at, UTC),
        every,
        bool(up),
        seconds,
        scrape,
        parse_findings(json.loads(zlib.decompress(findings))),
    )
