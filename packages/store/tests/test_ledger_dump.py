"""A dump says for itself whether it is whole: nothing cut off, changed, added or odd is taken."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_store.domain.ledger_dump import (
    SCHEMA,
    TABLES,
    Column,
    DumpReader,
    DumpRow,
    Value,
    WholeDump,
    write_dump,
)
from shimmy_store.errors import DumpError

ALARM: tuple[Value, ...] = ("merge-credit", "sub_1", 1, None, "")
ROWS: dict[str, list[tuple[Value, ...]]] = {
    "customers": [("cus_1", "sub_1", 5, "a@x", "a@x", "startup", 1, "", "", 7, None)],
    "events": [
        ("evt_1", "invoice.paid", "cus_1", "", 1, 2, "done", 0, 2, None, '{"a": "ä\\n"}', 3, None)
    ],
    "outbox": [("m1", "cus_1", "licence", "{}", 1, "waiting", None, 0, 0, None)],
    "links": [("l1", "merge", "cus_1 cus_2", "", 9, None, "a@x")],
    "alarms": [ALARM, ("merge-credit", "sub_2", -1, 2, "cus_1")],
}


def written(rows: dict[str, list[tuple[Value, ...]]] | None = None) -> list[bytes]:
    return list(write_dump("test", "2026-11-26T04:11:44.123456Z", SCHEMA, rows or ROWS))


def read(lines: Sequence[bytes]) -> tuple[list[DumpRow], WholeDump]:
    reader = DumpReader()
    rows = [row for row in map(reader.take, lines) if row is not None]
    return rows, reader.finish()


def refused(lines: Sequence[bytes]) -> str:
    """The code; the message never shows what is in the dump."""
    with pytest.raises(DumpError) as error:
        read(lines)
    assert "a@x" not in error.value.message
    return error.value.code


def sealed(lines: Sequence[bytes]) -> list[bytes]:
    """With an end that fits what was made of it, as somebody would write it who means harm."""
    *body, _ = lines
    digest = hashlib.sha256(b"".join(body)).hexdigest()
    end = {"end": True, "rows": len(body) - 1, "sha256": digest}
    return [*body, json.dumps(end).encode() + b"\n"]


def edited(number: int, change: Callable[[dict[str, Any]], None]) -> list[bytes]:
    """A dump with one line changed and sealed again."""
    lines = written()
    content = json.loads(lines[number])
    change(content)
    lines[number] = json.dumps(content).encode() + b"\n"
    return sealed(lines)


def test_a_dump_is_read_as_it_was_written() -> None:
    rows, whole = read(written())
    assert [(one.table, one.values) for one in rows] == [
        (name, row) for name in TABLES for row in ROWS[name]
    ]
    assert (whole.rows, whole.header.mode, whole.header.schema) == (6, "test", SCHEMA)
    assert whole.header.tables == {name: len(rows) for name, rows in ROWS.items()}
    assert whole.sha256 == hashlib.sha256(b"".join(written()[:-1])).hexdigest()
    assert json.loads(written()[-1]) == {"end": True, "rows": 6, "sha256": whole.sha256}


def test_an_empty_ledger_has_a_dump() -> None:
    rows, whole = read(written({name: [] for name in TABLES}))
    assert (rows, whole.rows) == ([], 0)


def test_cut_off_after_any_line_it_is_refused() -> None:
    lines = written()
    for length in range(len(lines)):
        assert refused(lines[:length]) == "dump-damaged"


def test_cut_off_within_any_line_it_is_refused() -> None:
    lines = written()
    for number, line in enumerate(lines):
        for length in {1, len(line) // 2, len(line) - 1}:
            assert refused([*lines[:number], line[:length]]) == "dump-damaged"


def test_with_any_line_gone_twice_or_elsewhere_it_is_refused() -> None:
    lines = written()
    for number, line in enumerate(lines):
        assert refused(lines[:number] + lines[number + 1 :]) == "dump-damaged"
        assert refused([*lines[: number + 1], line, *lines[number + 1 :]]) == "dump-damaged"
        others = lines[:number] + lines[number + 1 :]
        moved = [*others[: number - 1], line, *others[number - 1 :]] if number else lines[::-1]
        assert refused(moved) == "dump-damaged"


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_with_any_bit_flipped_it_is_refused(data: st.DataObject) -> None:
    whole = bytearray(b"".join(written()))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= 1 << data.draw(st.integers(0, 7))
    assert refused(bytes(whole).splitlines(keepends=True)) in (
        "dump-damaged",
        "dump-of-newer-schema",
    )


HEADER: dict[str, Callable[[dict[str, Any]], None]] = {
    "format": lambda one: one.update(format="other"),
    "version": lambda one: one.update(version=2),
    "version is true": lambda one: one.update(version=True),
    "schema of old": lambda one: one.update(schema=1),
    "schema is text": lambda one: one.update(schema="2"),
    "mode": lambda one: one.update(mode=1),
    "no time": lambda one: one.pop("made"),
    "no tables": lambda one: one.pop("tables"),
    "table unknown": lambda one: one["tables"].update(tries=0),
    "table missing": lambda one: one["tables"].pop("links"),
    "other counts": lambda one: one["tables"].update(links=2),
}
ROW: dict[str, Callable[[dict[str, Any]], None]] = {
    "table unknown": lambda one: one.update(t="settings"),
    "table no text": lambda one: one.update(t=["events"]),
    "field too many": lambda one: one.update(x=1),
    "no row": lambda one: one.update(r=[]),
    "column unknown": lambda one: one["r"].update(lease_token=""),
    "column missing": lambda one: one["r"].pop("body"),
    "null": lambda one: one["r"].update(body=None),
    "number for text": lambda one: one["r"].update(body=1),
    "text for number": lambda one: one["r"].update(created="1"),
    "true for number": lambda one: one["r"].update(created=True),
    "fraction": lambda one: one["r"].update(created=1.0),
    "too large": lambda one: one["r"].update(created=2**63),
    "half a character": lambda one: one["r"].update(body="\ud800"),
    "a zero": lambda one: one["r"].update(body="a\0"),
    "a zero beyond ascii": lambda one: one["r"].update(body="ä\0"),
}


@pytest.mark.parametrize("name", HEADER)
def test_a_header_that_is_not_ours_is_refused(name: str) -> None:
    assert refused(edited(0, HEADER[name])) == "dump-damaged"


@pytest.mark.parametrize("name", ROW)
def test_a_row_that_does_not_fit_is_refused_though_the_digest_does(name: str) -> None:
    assert refused(edited(2, ROW[name])) == "dump-damaged"


def test_the_same_row_twice_and_tables_out_of_order_are_refused_though_the_digest_fits() -> None:
    lines = edited(0, lambda one: one["tables"].update(alarms=3))
    assert refused(sealed([*lines[:-1], lines[5], lines[-1]])) == "dump-damaged"
    assert refused(sealed([lines[0], lines[2], lines[1], *lines[3:]])) == "dump-damaged"


def test_a_newer_schema_is_named_as_such() -> None:
    assert refused(edited(0, lambda one: one.update(schema=SCHEMA + 1))) == "dump-of-newer-schema"


@pytest.mark.parametrize("line", [b"\n", b"null\n", b"[]\n", b"\xff\n", b"[" * 99999 + b"\n"])
def test_what_is_no_json_object_is_refused(line: bytes) -> None:
    assert refused([line]) == "dump-damaged"
    assert refused([written()[0], line]) == "dump-damaged"


def _values(column: Column) -> st.SearchStrategy[Value]:
    text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    value: st.SearchStrategy[Value] = text
    if column.kind != "text":
        value = st.integers(-(2**63), 2**63 - 1)
    return st.none() | value if column.optional else value


TABLE_ROWS = st.fixed_dictionaries(
    {
        name: st.lists(
            st.tuples(*map(_values, table.columns)), max_size=3, unique_by=lambda row: row[:2]
        )
        if len(table.keys) == 2
        else st.lists(
            st.tuples(*map(_values, table.columns)), max_size=3, unique_by=lambda row: row[0]
        )
        for name, table in TABLES.items()
    }
)


@settings(max_examples=50, deadline=None)
@given(TABLE_ROWS)
def test_whatever_a_ledger_may_hold_comes_back(tables: dict[str, list[tuple[Value, ...]]]) -> None:
    rows, whole = read(written(tables))
    assert [(one.table, one.values) for one in rows] == [
        (name, row) for name in TABLES for row in tables[name]
    ]
    assert whole.rows == sum(map(len, tables.values()))
