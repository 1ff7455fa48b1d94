"""A sealed archive opens as it was written, or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shimmy_ops.adapters.backups.archive_vault import ArchiveVault
from shimmy_ops.adapters.backups.sealed_stream import CHUNK, OpeningReader, SealingWriter
from shimmy_ops.domain.backups.ledger_lines import LedgerReader, compare_ledgers
from shimmy_ops.domain.backups.licences import missing_licences
from shimmy_ops.domain.backups.manifest import (
    LEDGER,
    MANIFEST,
    PARTS,
    Manifest,
    Part,
    count_documents,
    parse_manifest,
    refuse_other_profile,
    write_manifest,
)
from shimmy_ops.domain.backups.records import (
    BackupRecord,
    note_verified,
    parse_records,
    plan_prune,
    record_documents,
)
from shimmy_ops.errors import BackupError
from shimmy_ops.use_cases.read_backup import read_backup

KEY = "the key of these tests"


def _seal(content: bytes, *, piece: int = 1 << 20) -> bytes:
    file = io.BytesIO()
    writer = SealingWriter(file, KEY)
    for start in range(0, len(content), piece):
        writer.write(content[start : start + piece])
    writer.finish()
    return file.getvalue()


def _open(sealed: bytes, key: str = KEY) -> bytes:
    return io.BufferedReader(OpeningReader(io.BytesIO(sealed), key)).read()


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7])
def test_what_is_sealed_is_opened_to_the_last_byte(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    sealed = _seal(content[:size], piece=1000)
    assert _open(sealed) == content[:size]
    assert content[:64] not in sealed
    with pytest.raises(BackupError) as refused:
        _open(sealed, "another key")
    assert refused.value.code == "backup-key-differs"


CONTENT = b"".join(number.to_bytes(4, "big") for number in range(4 * CHUNK // 4 - 100))
SEALED = _seal(CONTENT)
HEADER, SEALED_CHUNK = 48, CHUNK + 16


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_a_changed_byte_is_found(place: int, change: int) -> None:
    changed = bytearray(SEALED)
    changed[place] ^= change
    with pytest.raises(BackupError):
        _open(bytes(changed))


@given(st.integers(0, len(SEALED) - 1))
@settings(max_examples=40, deadline=None)
def test_a_missing_end_is_found(length: int) -> None:
    with pytest.raises(BackupError):
        _open(SEALED[:length])


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_an_end_at_a_piece_is_found(kept: int) -> None:
    with pytest.raises(BackupError):
        _open(SEALED[: HEADER + kept * SEALED_CHUNK])


@pytest.mark.parametrize(
    "order", [(1, 0, 2), (0, 2, 1), (0, 0, 1), (0, 1, 1), (1, 2), (0, 1, 2, 2)]
)
def test_pieces_in_another_order_are_found(order: tuple[int, ...]) -> None:
    pieces = [SEALED[HEADER + n * SEALED_CHUNK :][:SEALED_CHUNK] for n in range(3)]
    moved = b"".join(pieces[one] for one in order)
    with pytest.raises(BackupError):
        _open(SEALED[:HEADER] + moved + SEALED[HEADER + 3 * SEALED_CHUNK :])


def test_a_piece_of_another_file_of_the_same_key_is_found() -> None:
    other = _seal(CONTENT)
    mixed = SEALED[: HEADER + SEALED_CHUNK] + other[HEADER + SEALED_CHUNK :]
    with pytest.raises(BackupError):
        _open(mixed)


@given(st.binary(min_size=1, max_size=40))
@settings(max_examples=20, deadline=None)
def test_something_after_the_end_is_found(more: bytes) -> None:
    with pytest.raises(BackupError):
        _open(SEALED + more)


def _dump(rows: Mapping[str, list[dict[str, Any]]], **header: Any) -> bytes:
    counts = {table: len(listed) for table, listed in rows.items()}
    first = {
        "format": "shimmy-ledger",
        "version": 1,
        "schema": 2,
        "mode": "test",
        "made": "2027-01-15T00:00:00Z",
        "tables": counts,
        **header,
    }
    lines = [first, *({"t": table, "r": one} for table, listed in rows.items() for one in listed)]
    body = b"".join(json.dumps(one).encode() + b"\n" for one in lines)
    end = {"end": True, "rows": len(lines) - 1, "sha256": hashlib.sha256(body).hexdigest()}
    return body + json.dumps(end).encode() + b"\n"


ROWS: dict[str, list[dict[str, Any]]] = {
    "customers": [{"customer": f"cus_{n}", "email": f"{n}@x.example"} for n in range(5)],
    "alarms": [{"code": "work-late", "subject": "events", "raised": 7}],
}
DUMP = _dump(ROWS)


def _read(dump: bytes, *, marks: bool = True, piece: int = 7) -> Any:
    reader = LedgerReader(marks=marks)
    for start in range(0, len(dump), piece):
        reader.take(dump[start : start + piece])
    return reader.finish()


@given(st.integers(1, 400))
@settings(max_examples=20, deadline=None)
def test_a_dump_is_read_in_pieces_of_any_size(piece: int) -> None:
    read = _read(DUMP, piece=piece)
    assert (read.rows, read.mode, dict(read.tables)) == (6, "test", {"customers": 5, "alarms": 1})


@given(st.integers(0, len(DUMP) - 1), st.integers(1, 255))
@settings(max_examples=80, deadline=None)
def test_a_dump_with_a_changed_byte_is_refused(place: int, change: int) -> None:
    changed = bytearray(DUMP)
    changed[place] ^= change
    try:
        read = _read(bytes(changed))
    except BackupError:
        return
    # Blanks between the words of the end say nothing: what is told is the same.
    assert read == _read(DUMP)


@given(st.integers(0, len(DUMP) - 1))
@settings(max_examples=40, deadline=None)
def test_a_dump_that_is_cut_off_is_refused(length: int) -> None:
    with pytest.raises(BackupError):
        _read(DUMP[:length])


def test_ledgers_are_compared_row_by_row() -> None:
    other = {
        "customers": [*ROWS["customers"][1:4], {"customer": "cus_4", "email": "other"}],
        "alarms": [*ROWS["alarms"], {"code": "work-late", "subject": "messages", "raised": 8}],
    }
    customers, alarms = compare_ledgers(_read(DUMP), _read(_dump(other, made="later")))
    assert (customers.missing, customers.changed, customers.more) == (1, 1, 0)
    assert (alarms.missing, alarms.changed, alarms.more, alarms.rows) == (0, 0, 1, 1)
    assert all(one.same for one in compare_ledgers(_read(DUMP), _read(_dump(ROWS, made="later"))))


@pytest.fixture
def vault(tmp_path: Path) -> ArchiveVault:
    return ArchiveVault(tmp_path / "vault")


def _archive(vault: ArchiveVault, contents: Mapping[str, bytes], **changes: Any) -> str:
    def rows(name: str, content: bytes) -> dict[str, int]:
        return dict(_read(content).tables) if name == LEDGER else count_documents(content, name)

    parts = tuple(
        Part(name, len(one), hashlib.sha256(one).hexdigest(), rows(name, one))
        for name, one in contents.items()
    )
    given: dict[str, Any] = {
        "profile": "test",
        "mode": "test",
        "made": "2027-01-15T00:00:00+00:00",
        "ops": "1",
        "parts": parts,
    }
    manifest = changes.pop("manifest", None) or write_manifest(Manifest(**{**given, **changes}))
    with vault.bench() as bench:
        files = []
        for name, content in {MANIFEST: manifest, **contents}.items():
            bench.write(bench.path(name), iter([content]))
            files.append((name, bench.path(name)))
        return vault.seal(f"{hashlib.sha256(manifest).hexdigest()[:12]}.enc", KEY, files).file


WHOLE = {name: DUMP if name == LEDGER else b'{"licences": [1, 2]}' for name in PARTS}


def test_an_archive_is_read_with_everything_in_it(vault: ArchiveVault) -> None:
    read = read_backup(_archive(vault, WHOLE), KEY, vault)
    assert read.ledger.rows == 6
    assert read.manifest.part("keygen.json").rows == {"licences": 2}
    assert read.documents["stripe.json"] == WHOLE["stripe.json"]


@pytest.mark.parametrize(
    ("contents", "changes"),
    [
        ({name: WHOLE[name] for name in PARTS[:-1]}, {}),
        ({**WHOLE, "more.json": b"{}"}, {}),
        (WHOLE, {"mode": "live"}),
        (WHOLE, {"parts": ()}),
        (WHOLE, {"manifest": b"{}"}),
        (WHOLE, {"manifest": b'{"format":"shimmy-backup","version":2}'}),
        (
            WHOLE,
            {"parts": tuple(Part(name, len(one), "0" * 64, {}) for name, one in WHOLE.items())},
        ),
        (
            WHOLE,
            {
                "parts": tuple(
                    Part(name, len(one), hashlib.sha256(one).hexdigest(), {"licences": 9})
                    for name, one in WHOLE.items()
                )
            },
        ),
    ],
)
def test_an_archive_that_is_not_what_its_manifest_says_is_refused(
    vault: ArchiveVault, contents: Mapping[str, bytes], changes: dict[str, Any]
) -> None:
    file = _archive(vault, contents, **changes)
    with pytest.raises(BackupError):
        read_backup(file, KEY, vault)


@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255), cut=st.booleans())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_an_archive_that_was_touched_anywhere_is_never_read(
    vault: ArchiveVault, tmp_path: Path, place: float, change: int, *, cut: bool
) -> None:
    whole = tmp_path / "whole"
    if not whole.exists():
        Path(_archive(vault, WHOLE)).rename(whole)
    content = bytearray(whole.read_bytes())
    offset = int(place * len(content))
    if cut:
        del content[offset:]
    else:
        content[offset] ^= change
    touched = tmp_path / "touched"
    touched.write_bytes(content)
    with pytest.raises(BackupError):
        read_backup(str(touched), KEY, vault)


def test_no_half_archive_and_no_bench_is_left_behind(vault: ArchiveVault, tmp_path: Path) -> None:
    with vault.bench() as bench:
        bench.write(bench.path("a"), iter([b"a"]))
        with pytest.raises(BackupError):
            vault.seal("x.enc", KEY, [("a", bench.path("a")), ("b", bench.path("missing"))])
        vault.seal("y.enc", KEY, [("a", bench.path("a"))])
        with pytest.raises(BackupError):
            vault.seal("y.enc", KEY, [("a", bench.path("a"))])
    assert [one.name for one in (tmp_path / "vault").iterdir()] == ["y.enc"]


def test_a_manifest_comes_back_as_it_was_written() -> None:
    manifest = Manifest("test", "test", "x", "1", (Part("a", 1, "b", {"c": 2}),))
    assert parse_manifest(write_manifest(manifest)) == manifest
    refuse_other_profile(manifest, "test")
    with pytest.raises(BackupError):
        refuse_other_profile(manifest, "live")


RECORDS = st.lists(
    st.tuples(st.integers(0, 10**6), st.booleans()), max_size=12, unique_by=lambda one: one[0]
)


@given(RECORDS, st.integers(1, 6))
def test_pruning_keeps_the_newest_and_the_last_verified(
    made: list[tuple[int, bool]], keep: int
) -> None:
    records = tuple(
        BackupRecord(f"f{at}", f"{at:07}", "then" if good else None, f"s{at}", 1)
        for at, good in sorted(made)
    )
    left = [one for one in records if one not in plan_prune(records, keep)]
    assert set(records[-keep:]) <= set(left)
    verified = [one for one in records if one.verified]
    assert not verified or verified[-1] in left
    assert len(left) <= keep + 1


def test_what_is_verified_is_noted_once() -> None:
    first = BackupRecord("a", "1", None, "s1", 1)
    second = BackupRecord("b", "2", None, "s2", 1)
    again = BackupRecord("moved", "1", "now", "s1", 1)
    assert note_verified((first, second), again) == (again, second)
    assert note_verified((second,), again) == (again, second)
    assert parse_records(record_documents((first, again))) == (first, again)
    with pytest.raises(BackupError):
        parse_records([{"file": "a"}])


def test_missing_licences_are_made_by_their_plan_where_policies_have_other_ids() -> None:
    kept = {
        "policies": [
            {"id": "p1", "metadata": {"plan": "developer"}, "maxMachines": 1, "maxUses": 9}
        ],
        "licences": [
            _kept("l1", "cus_1"),
            _kept("l2", "cus_2"),
            {**_kept("l3", "cus_3"), "policy": "p9", "maxUses": 50},
            _kept("l4", "cus_4"),
        ],
    }
    now = [{"id": "p7", "metadata": {"plan": "developer"}}]
    found = missing_licences(kept, [{"id": "l2"}], now, frozenset({"cus_4"}))
    assert [(one.id, one.policy) for one in found] == [("l1", "p7"), ("l3", None)]
    assert found[0].attributes == {
        "name": None,
        "key": "K-l1",
        "expiry": None,
        "suspended": True,
        "metadata": {"customer": "cus_1"},
    }
    assert found[1].attributes["maxUses"] == 50


def _kept(name: str, customer: str) -> dict[str, Any]:
    return {
        "id": name,
        "policy": "p1",
        "name": None,
        "key": f"K-{name}",
        "expiry": None,
        "suspended": True,
        "metadata": {"customer": customer},
        "maxMachines": 1,
        "maxUses": 9,
    }


def test_what_a_killed_run_left_goes_a_day_later(vault: ArchiveVault, tmp_path: Path) -> None:
    with vault.bench() as bench:
        folder = Path(bench.path("x")).parent.parent
    left = folder / ".shimmy-backup-killed"
    left.mkdir()
    (left / "ledger.ndjson").write_text("a dump")
    half = folder / ".shimmy-backup-sandbox-1.tar.gz.enc.new"
    half.write_text("half")
    kept = tmp_path / "elsewhere"
    kept.mkdir()
    planted = folder / ".shimmy-backup-link"
    planted.symlink_to(kept)
    with vault.bench():
        assert left.exists()
    for path in (left, half, planted):
        os.utime(path, (1, 1), follow_symlinks=False)
    with vault.bench():
        assert not any(os.path.lexists(path) for path in (left, half, planted))
    assert kept.exists()
