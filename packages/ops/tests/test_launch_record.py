"""The launch's record: whatever is changed in it is found, and a crash is told apart."""

from __future__ import annotations

import multiprocessing
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from launch_stage import SIGNER, entry, kept_record, problems_of

from shimmy_ops.adapters.launch.ed25519_signer import Ed25519Signer, fresh_key
from shimmy_ops.adapters.launch.record_files import RecordFiles
from shimmy_ops.domain.launch.commands import canonical
from shimmy_ops.domain.launch.entries import NOTHING
from shimmy_ops.domain.launch.record import KeptRecord, check_record, head_line
from shimmy_ops.errors import LaunchError
from shimmy_ops.use_cases.record_entry import record_entry

COUNT = 5
WHOLE = kept_record(COUNT)
LINES = WHOLE.lines.splitlines(keepends=True)


def test_a_record_as_it_was_written_is_whole() -> None:
    checked = check_record(WHOLE, SIGNER, rehearsal=True)
    assert checked.problems == ()
    assert checked.torn == 0
    assert [one.number for one in checked.entries] == [1, 2, 3, 4, 5]
    assert check_record(KeptRecord(b"", None), SIGNER, rehearsal=True).entries == ()


@given(st.integers(0, len(WHOLE.lines) - 1), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found(place: int, bit: int) -> None:
    lines = bytearray(WHOLE.lines)
    lines[place] ^= 1 << bit
    assert problems_of(KeptRecord(bytes(lines), WHOLE.head))


@given(st.integers(0, len(WHOLE.head or b"") - 1), st.integers(0, 7))
def test_a_flipped_bit_in_the_note_of_the_end_is_found(place: int, bit: int) -> None:
    head = bytearray(WHOLE.head or b"")
    head[place] ^= 1 << bit
    assert problems_of(KeptRecord(WHOLE.lines, bytes(head)))


@given(st.permutations(LINES).filter(lambda lines: lines != LINES))
def test_lines_in_another_order_are_found(lines: list[bytes]) -> None:
    assert problems_of(KeptRecord(b"".join(lines), WHOLE.head))


@given(st.sets(st.integers(0, COUNT - 1), min_size=1))
def test_removed_lines_are_found_at_whatever_end(removed: set[int]) -> None:
    left = b"".join(line for at, line in enumerate(LINES) if at not in removed)
    assert problems_of(KeptRecord(left, WHOLE.head))


@given(st.integers(0, COUNT), st.sampled_from([*LINES, b"\n", b"{}\n"]))
def test_inserted_lines_are_found(place: int, line: bytes) -> None:
    lines = [*LINES[:place], line, *LINES[place:]]
    assert problems_of(KeptRecord(b"".join(lines), WHOLE.head))


@given(st.integers(1, len(LINES[-1])))
def test_a_last_line_that_was_whole_and_is_cut_short_is_found(cut: int) -> None:
    said = problems_of(KeptRecord(WHOLE.lines[:-cut], WHOLE.head))
    assert any("now has 4" in one for one in said)


@given(st.integers(0, len(LINES[-1]) - 1))
def test_a_crash_while_appending_is_no_tampering(written: int) -> None:
    before = kept_record(COUNT - 1)
    torn = KeptRecord(before.lines + LINES[-1][:written], before.head)
    checked = check_record(torn, SIGNER, rehearsal=True)
    assert checked.problems == ()
    assert checked.torn == written
    assert len(checked.entries) == COUNT - 1


def test_a_crash_between_the_line_and_the_note_of_the_end_is_no_tampering() -> None:
    before = kept_record(COUNT - 1)
    assert problems_of(KeptRecord(WHOLE.lines, before.head)) == ()
    # Before the first line there is a note that there is none: a record is never without one.
    for count in range(1, COUNT + 1):
        assert problems_of(KeptRecord(b"".join(LINES[:count]), None))
    nothing = head_line(0, NOTHING, SIGNER.sign)
    assert problems_of(KeptRecord(b"", nothing)) == problems_of(KeptRecord(LINES[0], nothing)) == ()
    assert problems_of(KeptRecord(LINES[0] + LINES[1], nothing))
    assert problems_of(KeptRecord(b"", head_line(0, "1" * 64, SIGNER.sign)))
    assert problems_of(KeptRecord(WHOLE.lines, kept_record(COUNT - 2).head))
    assert problems_of(KeptRecord(WHOLE.lines, None))


def test_another_key_and_the_other_record_are_found() -> None:
    other = Ed25519Signer(fresh_key())
    assert check_record(WHOLE, other, rehearsal=True).problems
    said = check_record(WHOLE, SIGNER, rehearsal=False).problems
    assert any("belongs to the other record" in one for one in said)


def test_a_record_that_was_written_anew_with_another_key_is_found() -> None:
    forger = Ed25519Signer(fresh_key())
    forged = canonical({"number": 4, "sha256": "0" * 64, "signature": "00"})
    assert problems_of(KeptRecord(b"".join(LINES[:4]), forged))
    assert problems_of(KeptRecord(b"".join(LINES[:4]), head_line(4, "0" * 64, forger.sign)))


def _append(folder: Path, name: str) -> None:
    files = RecordFiles(folder, "record")
    with files.alone():
        checked = check_record(files.read(), SIGNER, rehearsal=True)
        record_entry(entry(name), checked, files, SIGNER)


def test_a_torn_end_is_mended_by_the_next_entry(tmp_path: Path) -> None:
    folder = tmp_path / "state/launch"
    for name in ("a", "b"):
        _append(folder, name)
    with (folder / "record.jsonl").open("ab") as file:
        file.write(b'{"at":"2026-11')
    _append(folder, "c")
    checked = check_record(RecordFiles(folder, "record").read(), SIGNER, rehearsal=True)
    assert checked.problems == ()
    assert [one.task for one in checked.entries] == ["a", "b", "c"]
    for path in (folder, folder / "record.jsonl", folder / "record.head", folder.parent):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def _hold(folder: Path, held: object, go: object) -> None:
    with RecordFiles(folder, "record").alone():
        held.set()  # type: ignore[attr-defined]
        go.wait(20)  # type: ignore[attr-defined]
        os._exit(1)  # as killed: nothing is tidied up


def test_two_writers_at_once_are_refused_and_a_killed_one_leaves_no_lock(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("fork")
    held, go = spawn.Event(), spawn.Event()
    other = spawn.Process(target=_hold, args=(tmp_path, held, go))
    other.start()
    assert held.wait(20)
    with pytest.raises(LaunchError) as refused, RecordFiles(tmp_path, "record").alone():
        pass
    assert refused.value.code == "launch-busy"
    assert refused.value.retryable
    go.set()
    other.join(20)
    _append(tmp_path, "after")


def test_what_cannot_be_written_is_said_and_changes_nothing(tmp_path: Path) -> None:
    _append(tmp_path, "a")
    (tmp_path / ".record.head.new").mkdir()
    with pytest.raises(Exception, match="cannot be written"):
        _append(tmp_path, "b")
    (tmp_path / ".record.head.new").rmdir()
    kept = RecordFiles(tmp_path, "record").read()
    assert check_record(kept, SIGNER, rehearsal=True).problems == ()
