"""The lines of a ledger's dump, read again without the store: whole, and the same as another's.

A header, a line a row, an end with the number of rows and the SHA-256 of all bytes before it
(docs/store.md, "For the operator's tools").
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from shimmy_ops.domain.backups.manifest import damaged

FORMAT, VERSION = "shimmy-ledger", 1
# What tells a table's rows apart; another table's are told by all that they hold.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "customers": ("customer",),
    "events": ("id",),
    "outbox": ("key",),
    "links": ("id",),
    "alarms": ("code", "subject"),
}
_MARK = 16


@dataclass(frozen=True, slots=True)
class LedgerRead:
    """A whole dump. ``marks``: of each table, a digest of each row by a digest of its key."""

    schema: int
    mode: str
    made: str
    tables: Mapping[str, int]
    sha256: str
    marks: Mapping[str, Mapping[bytes, bytes]] = field(repr=False, default_factory=dict)

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(self.tables.values())


class LedgerReader:
    """Takes a dump's bytes in pieces of any size. Every method raises BackupError."""

    def __init__(self, *, marks: bool = False) -> None:
        self._marks: dict[str, dict[bytes, bytes]] | None = {} if marks else None
        self._digest = hashlib.sha256()
        self._rest = b""
        self._header: Mapping[str, Any] | None = None
        self._counts: dict[str, int] = {}
        self._sha256 = ""

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            self._line(line + b"\n")

    def finish(self) -> LedgerRead:
        """After the last byte."""
        if self._rest or not self._sha256 or self._header is None:
            raise damaged("the ledger's dump is cut off")
        header = self._header
        return LedgerRead(
            header["schema"],
            header["mode"],
            header["made"],
            dict(header["tables"]),
            self._sha256,
            self._marks or {},
        )

    def _line(self, line: bytes) -> None:
        if self._sha256:
            raise damaged("the ledger's dump goes on after its end")
        try:
            read = json.loads(line)
            if self._header is None:
                self._header = _checked_header(read)
                self._counts = dict.fromkeys(read["tables"], 0)
            elif "end" in read:
                self._end(read, self._header)
                return
            else:
                self._row(read["t"], read["r"])
        except (ValueError, LookupError, TypeError) as error:
            raise damaged("a line of the ledger's dump cannot be read") from error
        self._digest.update(line)

    def _row(self, table: str, row: Mapping[str, Any]) -> None:
        self._counts[table] += 1
        if self._marks is not None:
            names = _KEYS.get(table, tuple(row))
            key = _mark([row[name] for name in names])
            self._marks.setdefault(table, {})[key] = _mark(row)

    def _end(self, read: Mapping[str, Any], header: Mapping[str, Any]) -> None:
        same = read["rows"] == sum(self._counts.values()) and header["tables"] == self._counts
        if not same or read["sha256"] != self._digest.hexdigest():
            raise damaged("the ledger's dump is not whole")
        self._sha256 = str(read["sha256"])


def read_ledger(pieces: Iterable[bytes]) -> LedgerRead:
    """A whole dump with marks of its rows. Raises BackupError."""
    reader = LedgerReader(marks=True)
    for piece in pieces:
        reader.take(piece)
    return reader.finish()


@dataclass(frozen=True, slots=True)
class TableDifference:
    """Rows of one table: ``missing`` are in the backup only, ``more`` in the ledger only."""

    table: str
    rows: int
    missing: int
    changed: int
    more: int

    @property
    def same(self) -> bool:
        """To the last value."""
        return not (self.missing or self.changed or self.more)


def compare_ledgers(kept: LedgerRead, found: LedgerRead) -> tuple[TableDifference, ...]:
    """Table by table; when they were made does not count. Both were read with ``marks``."""
    return tuple(_compare(kept, found))


def _compare(kept: LedgerRead, found: LedgerRead) -> Iterator[TableDifference]:
    for table in dict.fromkeys((*kept.tables, *found.tables)):
        ours, theirs = kept.marks.get(table, {}), found.marks.get(table, {})
        yield TableDifference(
            table,
            len(ours),
            sum(key not in theirs for key in ours),
            sum(key in theirs and theirs[key] != mark for key, mark in ours.items()),
            sum(key not in ours for key in theirs),
        )


def _checked_header(read: Mapping[str, Any]) -> Mapping[str, Any]:
    known = (read["format"], read["version"]) == (FORMAT, VERSION)
    counts = all(isinstance(one, int) for one in read["tables"].values())
    if not known or not counts or not isinstance(read["schema"], int):
        raise damaged("it holds no dump of a ledger that this tool knows")
    return {**read, "mode": str(read["mode"]), "made": str(read["made"])}


def _mark(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_MARK).digest()
