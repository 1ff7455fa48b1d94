"""Every byte of the state file altered, rows moved, removed and brought back: never more access."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from licence_world import Customer, MakeCustomer, Shop, Sold

from shimmy_vision.errors import LicenceError, LicenceStateError
from shimmy_vision.ports.licence_state import LicenceSession
from shimmy_vision.ports.licensing import Licensing
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.use_cases.sync_pages import sync_pages

ONE_SHOP = True

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SMALL_PAGES = 512


class LookedAt(BaseException):
    """Ends a session without changing anything."""


@dataclass(frozen=True)
class Kept:
    """A customer's state as one file, and what is in it."""

    customer: Customer
    sold: Sold
    data: bytes
    reserved: tuple[str, ...]

    @property
    def path(self) -> Path:
        return self.customer.state_file


def use(licensing: Licensing, pages: int = 1) -> None:
    settle_pages(admit_pages(pages, licensing), licensing, done=True)


def make_one_file(path: Path, page_size: int = SMALL_PAGES) -> bytes:
    """As after a clean exit; small database pages leave little room between the rows."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute(f"PRAGMA page_size={page_size}")
        connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode=WAL")
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: the file is written thousands of times."""
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as name:
        yield Path(name)


@pytest.fixture
def kept(shop: Shop, customer: MakeCustomer, folder: Path) -> Kept:
    """A key, a certificate, pages that wait, are reserved, and are in a batch without a reply."""
    shop.clock.freeze(NOON)
    sold, machine = shop.sell("developer"), replace(customer(), folder=folder)
    with machine.process() as process:
        process.state.machine_id()  # type: ignore[attr-defined]
        activate_licence(sold.key, process)
        use(process, 3)
        shop.fault("no-reply", path="increment-usage")
        assert sync_pages(sold.key, process, force=True) == "unheard"
        use(process, 2)
        use(process, 1)
        reserved = admit_pages(4, process).pages.id
    data = make_one_file(machine.state_file)
    return Kept(replace(machine, offline=True), sold, data, (reserved,))


def everything(session: LicenceSession, reserved: tuple[str, ...]) -> tuple[Any, ...]:
    """All that a session can tell, found by every way there is."""
    return (
        session.record,
        session.batch(),
        session.waiting(10_000),
        session.oldest_waiting(),
        session.waiting_since(EPOCH),
        session.waiting_since(NOON + timedelta(days=1)),
        [session.release(one) for one in reserved],
        session.close_batch(applied=True),
    )


def look(state: Any, key: str | None, reserved: tuple[str, ...]) -> tuple[Any, ...]:
    kept_key = state.kept_key()
    found: tuple[Any, ...] = ()
    try:
        with state.session(key or kept_key or "none") as session:
            found = everything(session, reserved)
            raise LookedAt  # noqa: TRY301
    except LookedAt:
        return (kept_key, *found)


def put(kept: Kept, data: bytes) -> None:
    for suffix in ("-wal", "-shm"):
        kept.path.with_name(kept.path.name + suffix).unlink(missing_ok=True)
    kept.path.write_bytes(data)


def outcome(kept: Kept, original: tuple[Any, ...]) -> str:
    """What a new process makes of the file, which has no other key and cannot ask the server.

    "the same", or the code of the refusal; access on other grounds than before fails the test.
    """
    with kept.customer.process() as process:
        try:
            found = look(process.state, None, kept.reserved)
            if found == original:
                return "the same"
            admit_pages(1, process)
        except LicenceError as refused:
            return refused.code
    raise AssertionError(found)


def read(kept: Kept) -> tuple[Any, ...]:
    with kept.customer.process() as process:
        return look(process.state, None, kept.reserved)


def used_bytes(data: bytes) -> set[int]:
    """Places of everything but the gaps between a page's list of cells and the cells."""
    used = set(range(len(data)))
    for start in range(0, len(data), SMALL_PAGES):
        head = 100 if start == 0 else start
        kind = data[head]
        if kind in (2, 5, 10, 13):  # Pages of B-trees; others hold the rest of long rows.
            cells = int.from_bytes(data[head + 3 : head + 5], "big")
            list_end = head + (12 if kind in (2, 5) else 8) + 2 * cells
            content = start + int.from_bytes(data[head + 5 : head + 7], "big")
            used -= set(range(list_end, content))
    return used


def alterations(data: bytes) -> Iterator[tuple[int, int]]:
    """Every used byte with one of its bits turned; some of all bytes set to 0x00 and 0xff.

    The gaps are about a quarter of the file: every tenth of their bytes is turned too.
    """
    chance = random.Random(20261125)
    used = used_bytes(data)
    for place in range(len(data)):
        if place in used or chance.random() < 0.1:
            yield place, data[place] ^ (1 << chance.randrange(8))
        if chance.random() < 0.02:
            yield place, chance.choice((0x00, 0xFF))


def test_no_byte_can_be_altered_unnoticed(kept: Kept) -> None:
    original = read(kept)
    assert original[0] == kept.sold.key
    assert (original[1].waiting, original[1].reserved, original[2].pages) == (6, 4, 3)
    used, seen = used_bytes(kept.data), Counter[str]()
    for place, value in alterations(kept.data):
        put(kept, kept.data[:place] + bytes([value]) + kept.data[place + 1 :])
        found = outcome(kept, original)
        seen[found if place in used else f"{found} in a gap"] += 1
    assert sum(seen.values()) > len(used) > 10_000
    assert seen["licence-state-damaged"] > len(used) * 0.8
    # A key that was altered is none that was activated here.
    assert 0 < seen["machine-changed"] <= 2 * len(kept.sold.key)
    assert set(seen) <= {
        "the same",
        "the same in a gap",
        "licence-state-damaged",
        "licence-state-newer",
        "licence-state-not-written",
        "machine-changed",
    }, seen


def test_a_file_cut_off_or_grown_is_refused(kept: Kept) -> None:
    original = read(kept)
    for length in range(0, len(kept.data), SMALL_PAGES // 2):
        put(kept, kept.data[:length])
        assert outcome(kept, original) in ("licence-missing", "licence-state-damaged"), length
    put(kept, kept.data + b"\0" * SMALL_PAGES)
    assert outcome(kept, original) in ("the same", "licence-state-damaged")
    put(kept, bytes(len(kept.data)))
    assert outcome(kept, original) == "licence-state-damaged"


def test_a_log_with_an_altered_byte_is_an_earlier_state_or_refused(kept: Kept) -> None:
    """SQLite forgets a log from its first wrong byte on: as if the power had gone then."""
    put(kept, kept.data)
    states = [read(kept)]
    with kept.customer.process() as process:
        for changes in ({"counted": 40}, {"trouble": "why"}, {"counted": 41}):
            with process.state.session(kept.sold.key) as session:
                session.update(**changes)
            states.append(look(process.state, None, kept.reserved))
        log = kept.path.with_name(kept.path.name + "-wal")
        main, written = kept.path.read_bytes(), log.read_bytes()
    chance = random.Random(1)
    for place in sorted(chance.sample(range(len(written)), 400)):
        put(kept, main)
        log.write_bytes(written[:place] + bytes([written[place] ^ 0x20]) + written[place + 1 :])
        with kept.customer.process() as process:
            try:
                assert look(process.state, None, kept.reserved) in states
            except LicenceStateError as refused:
                assert refused.code == "licence-state-damaged"


TABLES = ("licences", "pages", "batches")
VALUES = (None, "", "x", 0, 1, -1, 2**62, 1.5, b"x")


Statement = tuple[str, tuple[Any, ...]]


def edit(kept: Kept, *statements: Statement) -> None:
    """The original file with these done to it."""
    put(kept, kept.data)
    with closing(sqlite3.connect(kept.path)) as connection, connection:
        for sql, values in statements:
            connection.execute(sql, values)


def setting(table: str, row: dict[str, Any], column: str, value: object) -> Statement:
    sql = "UPDATE OR REPLACE TABLE SET COLUMN = ? WHERE rowid = ?"
    return sql.replace("TABLE", table).replace("COLUMN", column), (value, row["rowid"])


def removing(table: str, row: dict[str, Any]) -> Statement:
    return "DELETE FROM TABLE WHERE rowid = ?".replace("TABLE", table), (row["rowid"],)


def inserting(how: str, table: str, row: dict[str, Any]) -> Statement:
    columns = [name for name in row if name != "rowid"]
    marks = ", ".join("?" for _ in columns)
    sql = f"INSERT OR {how} INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608
    return sql, tuple(row[name] for name in columns)


def rows_of(kept: Kept, table: str) -> list[dict[str, Any]]:
    put(kept, kept.data)
    with closing(sqlite3.connect(kept.path)) as connection:
        connection.row_factory = sqlite3.Row
        sql = "SELECT rowid, * FROM TABLE".replace("TABLE", table)
        return [dict(row) for row in connection.execute(sql)]


@pytest.mark.parametrize("table", TABLES)
def test_no_field_of_any_row_can_be_changed(kept: Kept, table: str) -> None:
    original, rows = read(kept), rows_of(kept, table)
    for row in rows:
        for column in set(row) - {"rowid"}:
            for value in (*VALUES, *(other[column] for other in rows)):
                edit(kept, setting(table, row, column, value))
                found = outcome(kept, original)
                if value == row[column] and type(value) is type(row[column]):
                    assert found == "the same"
                elif (table, column) == ("licences", "key") and value is None:
                    assert found == "licence-missing"
                elif column in ("key", "name") and isinstance(value, str | int | float):
                    assert found == "machine-changed", (column, value)
                else:
                    assert found == "licence-state-damaged", (column, value)


@pytest.mark.parametrize("table", TABLES)
def test_no_row_can_be_removed_or_doubled(kept: Kept, table: str) -> None:
    original = read(kept)
    for row in rows_of(kept, table):
        edit(kept, removing(table, row))
        missing = "licence-missing" if table == "licences" else "licence-state-damaged"
        assert outcome(kept, original) == missing
        # Under another name it belongs to nobody; under another id it is not what was sealed.
        copied = {**row, "name": "copy"} if "name" in row else {**row, "id": "copy"}
        edit(kept, inserting("IGNORE", table, copied))
        expected = "licence-state-damaged" if table == "pages" else "the same"
        assert outcome(kept, original) == expected


def test_with_a_given_key_a_missing_row_is_noticed_too(kept: Kept) -> None:
    (row,) = rows_of(kept, "licences")
    edit(kept, removing("licences", row))
    with kept.customer.process() as process, pytest.raises(LicenceStateError) as raised:
        look(process.state, kept.sold.key, kept.reserved)
    assert raised.value.code == "licence-state-damaged"


def test_an_earlier_row_does_not_fit_any_more(kept: Kept) -> None:
    """Its seal is right; what it sums up is not there. Pages reported once stay reported."""
    before = {table: rows_of(kept, table) for table in TABLES}
    put(kept, kept.data)
    with replace(kept.customer, offline=False).process() as process:
        assert sync_pages(kept.sold.key, process, force=True) == "counted"
    later = replace(kept, data=make_one_file(kept.path))
    original = read(later)
    assert (original[1].waiting, original[1].reserved) == (0, 4)
    for table, rows in before.items():
        for row in rows:
            edit(later, inserting("REPLACE", table, row))
            still_there = table == "pages" and row["owner"]
            expected = "the same" if still_there else "licence-state-damaged"
            assert outcome(later, original) == expected


def test_rows_do_not_pass_from_one_licence_to_another(kept: Kept, shop: Shop) -> None:
    put(kept, kept.data)
    other = shop.sell("enterprise").key
    with replace(kept.customer, offline=False, given_key=other).process() as process:
        use(process)
    mixed = replace(kept, data=make_one_file(kept.path))
    ours, theirs = sorted(rows_of(mixed, "licences"), key=lambda row: row["key"] is None)
    edits = [[setting("pages", row, "licence", theirs["name"])] for row in rows_of(mixed, "pages")]
    edits.append([setting("batches", rows_of(mixed, "batches")[0], "licence", theirs["name"])])
    names = (("aside", ours), (ours["name"], theirs), (theirs["name"], ours))
    edits.append([setting("licences", row, "name", name) for name, row in names])
    for key in (kept.sold.key, other):
        with mixed.customer.process() as process:
            put(mixed, mixed.data)
            assert look(process.state, key, ())[1].certificate
        for statements in edits:
            edit(mixed, *statements)
            with mixed.customer.process() as process, pytest.raises(LicenceStateError) as raised:
                look(process.state, key, ())
            assert raised.value.code == "licence-state-damaged"
