"""What a dump of the ledger is: lines of JSON that say for themselves whether they are whole.

A header, a line a row, and an end with the number of rows and the SHA-256 of all bytes before it.
Values are as the ledger has them, times in microseconds since 1970. Left out is what means nothing
elsewhere: leases, counts of tries, and the numbers that the ledger itself gives to rows, which come
in their order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shimmy_store.domain.json_text import parse_json
from shimmy_store.errors import DumpError

FORMAT, VERSION = "shimmy-ledger", 1
# The number of migrations whose tables these are.
SCHEMA = 2
# An event's body has at most 2 MiB, and JSON may write a byte as six.
LONGEST_LINE = 16 * 1024 * 1024

Value: TypeAlias = str | int | None
Kind: TypeAlias = Literal["text", "integer", "time"]


@dataclass(frozen=True, slots=True)
class Column:
    """``optional``: may be null."""

    name: str
    kind: Kind = "text"
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """``keys`` tell rows apart; ``numbered`` ones come in the order in which they were added."""

    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    numbered: bool = True


def _columns(written: str) -> tuple[Column, ...]:
    """``name`` is text, ``name#`` an integer, ``name@`` a time; ``?`` after it: may be null."""
    kinds: Mapping[str, Kind] = {"#": "integer", "@": "time"}
    found = []
    for word in written.split():
        plain = word.rstrip("?")
        found.append(Column(plain.rstrip("#@"), kinds.get(plain[-1], "text"), word.endswith("?")))
    return tuple(found)


TABLES: Mapping[str, Table] = {
    "customers": Table(
        _columns(
            "customer origin? settled@? email email_folded plan? changes# merged_into given_up"
            " look_again@? erased@?"
        ),
        ("customer",),
        numbered=False,
    ),
    "events": Table(
        _columns(
            "id type customer payment created@ received@ state attempts# again@ error? body"
            " settled@? first_heard@?"
        ),
        ("id",),
    ),
    "outbox": Table(
        _columns("key customer kind facts added@ state sent@? attempts# again@ error?"), ("key",)
    ),
    "links": Table(
        _columns("id kind customers browser expires@ used@? mailbox"), ("id",), numbered=False
    ),
    "alarms": Table(_columns("code subject raised@ acknowledged@? customer"), ("code", "subject")),
}


@dataclass(frozen=True, slots=True)
class DumpHeader:
    """``made`` is written out; ``tables`` says how many rows each has."""

    schema: int
    mode: str
    made: str
    tables: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DumpRow:
    """One row; ``values`` in the order of the table's columns."""

    table: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class WholeDump:
    """A dump that was read to its end and found whole."""

    header: DumpHeader
    rows: int
    sha256: str


def write_dump(
    mode: str, made: str, schema: int, tables: Mapping[str, Sequence[tuple[Value, ...]]]
) -> Iterator[bytes]:
    """Its lines, each with its newline."""
    header = {
        "format": FORMAT,
        "version": VERSION,
        "schema": schema,
        "mode": mode,
        "made": made,
        "tables": {name: len(tables[name]) for name in TABLES},
    }
    digest, count = hashlib.sha256(), 0
    line = _line(header)
    digest.update(line)
    yield line
    for name, table in TABLES.items():
        names = [one.name for one in table.columns]
        for row in tables[name]:
            line = _line({"t": name, "r": dict(zip(names, row, strict=True))})
            digest.update(line)
            count += 1
            yield line
    yield _line({"end": True, "rows": count, "sha256": digest.hexdigest()})


def _line(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


class DumpReader:
    """Takes a dump's lines one after the other; each error names the line, never a value."""

    def __init__(self) -> None:
        self._header: DumpHeader | None = None
        self._counts = dict.fromkeys(TABLES, 0)
        self._keys: dict[str, set[tuple[Value, ...]]] = {name: set() for name in TABLES}
        self._digest = hashlib.sha256()
        self._number = 0
        self._order = 0
        self._whole: WholeDump | None = None

    def take(self, line: bytes) -> DumpRow | None:
        """The row that the next line holds, if it holds one. Raises DumpError."""
        self._number += 1
        if self._whole is not None:
            raise self._damaged("something comes after its end")
        if not line.endswith(b"\n"):
            raise self._damaged("it breaks off in this line, or the line is too long")
        read = self._parse(line)
        if self._header is None:
            self._header = self._read_header(read)
        elif "end" in read:
            self._whole = self._read_end(read, self._header)
            return None
        self._digest.update(line)
        return self._read_row(read) if self._number > 1 else None

    def finish(self) -> WholeDump:
        """After the last line. Raises DumpError where the end is missing."""
        if self._whole is None:
            self._number += 1
            raise self._damaged("it has no end: it was cut off")
        return self._whole

    def _damaged(self, reason: str) -> DumpError:
        return DumpError(
            "dump-damaged",
            f"The dump cannot be used: line {self._number}: {reason}.",
            hint="Nothing of it was taken. Use another dump.",
        )

    def _parse(self, line: bytes) -> dict[str, Any]:
        try:
            read = parse_json(line.decode("utf-8"))
        except ValueError as error:
            raise self._damaged("it is no JSON") from error
        if not isinstance(read, dict):
            raise self._damaged("it is no JSON object")
        return read

    def _read_header(self, read: dict[str, Any]) -> DumpHeader:
        if read.get("format") != FORMAT:
            raise self._damaged("it is no dump of a store's ledger")
        if type(read.get("version")) is not int or read["version"] != VERSION:
            raise self._damaged("it is written in a way that this store does not know")
        schema, mode, made = read.get("schema"), read.get("mode"), read.get("made")
        if type(schema) is not int or not isinstance(mode, str) or not isinstance(made, str):
            raise self._damaged("the header is incomplete")
        if schema > SCHEMA:
            raise DumpError(
                "dump-of-newer-schema",
                f"The dump has schema {schema}, and this store knows {SCHEMA}.",
                hint="Install the version of the store that made it, or a newer one.",
            )
        tables = read.get("tables")
        if schema != SCHEMA or not isinstance(tables, dict) or tables.keys() != TABLES.keys():
            raise self._damaged("its tables are none of this store's")
        return DumpHeader(schema, mode, made, tables)

    def _read_row(self, read: dict[str, Any]) -> DumpRow:
        name, row = read.get("t"), read.get("r")
        if read.keys() != {"t", "r"} or not isinstance(name, str) or not isinstance(row, dict):
            raise self._damaged("it is no row")
        table = TABLES.get(name)
        if table is None:
            raise self._damaged("there is no such table")
        place = list(TABLES).index(name)
        if place < self._order:
            raise self._damaged("the tables are not in their order")
        self._order = place
        if row.keys() != {one.name for one in table.columns}:
            raise self._damaged("its columns are not the table's")
        if not all(_fits(row[one.name], one) for one in table.columns):
            raise self._damaged("a value is of the wrong kind")
        key = tuple(row[one] for one in table.keys)
        if key in self._keys[name]:
            raise self._damaged("this row was there before")
        self._keys[name].add(key)
        self._counts[name] += 1
        return DumpRow(name, tuple(row[one.name] for one in table.columns))

    def _read_end(self, read: dict[str, Any], header: DumpHeader) -> WholeDump:
        rows, digest = sum(self._counts.values()), self._digest.hexdigest()
        if read != {"end": True, "rows": rows, "sha256": digest} or read["end"] is not True:
            raise self._damaged("rows are missing, or something was changed")
        if header.tables != self._counts:
            raise self._damaged("the header tells of other rows")
        return WholeDump(header, rows, digest)


def _fits(value: object, column: Column) -> bool:
    if value is None:
        return column.optional
    if column.kind == "text":
        return isinstance(value, str) and _is_whole(value)
    return type(value) is int and -(2**63) <= value < 2**63


def _is_whole(text: str) -> bool:
    """Without halves of characters and zeros, which no ledger can keep."""
    return (text.isascii() and "\0" not in text) or not any(
        one == "\0" or "\ud800" <= one <= "\udfff" for one in text
    )
