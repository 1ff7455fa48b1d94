"""The state file on the disks and among the processes that customers have."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from licence_world import MakeCustomer, Shop
from state_files import KEY, NOW, PRELUDE, child, opened, record_of, write_everything

from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.domain.licence.metering import Batch
from shimmy_vision.errors import LicenceStateError
from shimmy_vision.ports.licence_state import Pages
from shimmy_vision.use_cases.admit_pages import admit_pages

DROP_PRIVILEGES = """
import encodings.idna, filelock._soft  # What is imported later may lie where nobody may read.
if os.geteuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that another user may read, as pytest's own is not."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o755)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_read_what_is_made(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with opened(tmp_path / "new" / "licence.sqlite") as state:
            write_everything(state)
            with state.alone(0) as alone:
                assert alone
                made = sorted((tmp_path / "new").iterdir())
                assert {one.suffix for one in made} >= {".sqlite", ".sqlite-wal", ".lock"}
                assert {mode(one) for one in made} == {0o600}
                assert mode(tmp_path / "new") == 0o700
    finally:
        os.umask(before)


def test_what_others_may_read_is_made_private(tmp_path: Path) -> None:
    path = tmp_path / "licence.sqlite"
    with opened(path) as state:
        write_everything(state)
        with state.alone(0):
            places = sorted(tmp_path.iterdir())
            for one in places:
                one.chmod(0o644)
        with opened(path) as again:
            assert record_of(again).counted == 17
            assert {one.name: mode(one) for one in places} == {one.name: 0o600 for one in places}
            assert len(places) >= 4


def test_a_folder_that_was_there_keeps_its_permissions(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with opened(tmp_path / "licence.sqlite") as state:
        assert state.durable
    assert mode(tmp_path) == 0o755


def test_everything_survives_closing(tmp_path: Path) -> None:
    path = tmp_path / "licence.sqlite"
    with opened(path) as state:
        write_everything(state)
        before = record_of(state)
        assert state.kept_key() == KEY
    with opened(path) as state, state.session(KEY) as session:
        assert session.record == before
        assert (before.waiting, before.reserved, before.total) == (7, 5, 7)
        assert before.denial is not None
        assert before.denial.machines[0].since == NOW
        assert session.batch() == Batch("batch", 3, 17, NOW, NOW)
        assert [one.id for one in session.waiting(100)] == ["waiting"]
        assert session.oldest_waiting() == NOW
        assert session.waiting_since(NOW + timedelta(seconds=1)) == 4
        assert session.release("reserved") == 5
    with opened(path) as state:
        assert state.kept_key() == KEY


def test_nothing_of_a_session_that_failed_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "licence.sqlite") as state:
        write_everything(state)
        before = record_of(state)
        with pytest.raises(KeyboardInterrupt), state.session(KEY) as session:
            session.update(counted=99)
            session.forget_key()
            session.commit(Pages("more", 1, NOW))
            session.close_batch(applied=True)
            raise KeyboardInterrupt
        assert record_of(state) == before
        assert state.kept_key() == KEY


def test_pages_are_committed_once_however_often_that_is_said(tmp_path: Path) -> None:
    with opened(tmp_path / "licence.sqlite") as state:
        write_everything(state)
        before = record_of(state)
        with state.session(KEY) as session:
            session.commit(Pages("waiting", 4, NOW))
            session.commit(Pages("sent", 3, NOW))
        assert record_of(state) == before
    with opened(tmp_path / "licence.sqlite") as state, state.session(KEY) as session:
        assert session.close_batch(applied=True) == 3


def test_a_file_of_the_first_version_gets_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "licence.sqlite"
    with opened(path) as state:
        write_everything(state)
        before = record_of(state)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE counted")
        connection.execute("PRAGMA user_version=1")
    with opened(path) as state:
        assert record_of(state) == before
        with state.session(KEY) as session:
            session.commit(Pages("new", 1, NOW))
            assert session.is_counted("new")
            assert session.is_counted("waiting"), "it waits, remembered or not"


def test_counted_pages_are_forgotten_after_a_day(tmp_path: Path) -> None:
    with opened(tmp_path / "licence.sqlite") as state, state.session(KEY) as session:
        for number, days in enumerate((0, 0.5, 1.6)):
            session.tally(Pages(f"{number}", 1, NOW + timedelta(days=days)))
        assert [session.is_counted(one) for one in "012"] == [False, False, True]
        assert session.record.total == 3


def test_a_file_of_a_newer_version_is_left_alone(shop: Shop, customer: MakeCustomer) -> None:
    machine = customer(given_key=shop.sell().key)
    with machine.process() as process:
        admit_pages(1, process)
    with closing(sqlite3.connect(machine.state_file)) as connection:
        connection.execute("PRAGMA user_version=3")
    before = machine.state_file.read_bytes()
    with pytest.raises(LicenceStateError) as raised:
        admit_pages(1, machine.licensing())
    assert raised.value.code == "licence-state-newer"
    assert machine.state_file.read_bytes() == before


def test_where_no_folder_can_be_made_it_works_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with opened(tmp_path / "file" / "folder" / "licence.sqlite") as state:
        assert not state.durable
        assert state.kept_key() is None
        write_everything(state)
        assert (state.kept_key(), record_of(state).waiting) == (KEY, 7)
        with state.alone(0) as alone:
            assert alone


READ = """
print(state.durable, state.kept_key())
with state.session(key) as session:
    record = session.record
    print(record.counted, record.total, record.waiting, record.reserved, session.batch())
    print(len(session.waiting(100)), session.oldest_waiting())
    session.update(counted=record.counted + 1)
with state.session(key) as session:
    print(session.record.counted)
state.close()
"""


@pytest.mark.parametrize("file_mode", [0o444, 0o666])
def test_in_a_folder_that_cannot_be_written_the_kept_key_is_read(
    open_folder: Path, file_mode: int
) -> None:
    """The pages in it are those of whoever can write it: each reader would report them again."""
    path = open_folder / "licence.sqlite"
    with opened(path) as state:
        write_everything(state)
    path.chmod(file_mode)
    open_folder.chmod(0o555)
    before = (path.read_bytes(), sorted(open_folder.iterdir()))
    said = child(DROP_PRIVILEGES + READ, path).split("\n")
    assert said == [f"False {KEY}", "17 7 0 0 None", "0 None", "18"]
    assert (path.read_bytes(), sorted(open_folder.iterdir())) == before


def test_a_file_that_may_only_be_read_is_read(open_folder: Path) -> None:
    path = open_folder / "licence.sqlite"
    with opened(path) as state:
        write_everything(state)
    path.chmod(0o444)
    open_folder.chmod(0o777)
    before = path.read_bytes()
    assert child(DROP_PRIVILEGES + READ, path).startswith(f"False {KEY}\n17 7 0 0 None")
    assert path.read_bytes() == before


def test_an_empty_folder_that_cannot_be_written_stays_empty(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    assert child(DROP_PRIVILEGES + READ, open_folder / "licence.sqlite").startswith("False None")
    assert not list(open_folder.iterdir())


def test_another_users_lock_is_no_reason_to_wait(open_folder: Path) -> None:
    """As after one run with sudo: without a lock of one's own nothing may be reported from here."""
    open_folder.chmod(0o777)
    lock = open_folder / "licence.lock"
    lock.touch(0o644)
    lock.chmod(0o444)
    said = child(DROP_PRIVILEGES + READ, open_folder / "licence.sqlite")
    assert said.startswith("False None")


ERRORS = """
try:
    state.kept_key()
except LicenceStateError as error:
    print(error.code)
state.close()
"""


def test_a_file_that_may_not_even_be_read_is_an_error(open_folder: Path) -> None:
    path = open_folder / "licence.sqlite"
    with opened(path) as state:
        write_everything(state)
    path.chmod(0o000)
    open_folder.chmod(0o555)
    assert child(DROP_PRIVILEGES + ERRORS, path) == "licence-state-unreadable"


def test_a_damaged_file_that_may_only_be_read_can_be_left_behind(open_folder: Path) -> None:
    path = open_folder / "licence.sqlite"
    path.write_bytes(b"no database" * 1000)
    path.chmod(0o444)
    open_folder.chmod(0o555)
    said = child(DROP_PRIVILEGES + ERRORS + "state.set_aside()" + READ, path).split("\n")
    assert said == ["licence-state-damaged", "False None", "0 0 0 0 None", "0 None", "1"]


def test_a_full_disk_is_no_damage(tmp_path: Path) -> None:
    with opened(tmp_path / "licence.sqlite") as state:
        write_everything(state)
        before = record_of(state)
        connection = state._connection
        assert connection is not None
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        for durable in (False, True):
            with (
                pytest.raises(LicenceStateError) as raised,
                state.session(KEY, durable=durable) as session,
            ):
                session.update(certificate="x" * 100_000)
            assert raised.value.code == "licence-state-not-written"
            assert isinstance(raised.value.__cause__, sqlite3.OperationalError)
            assert raised.value.__cause__.sqlite_errorname == "SQLITE_FULL"
            assert record_of(state) == before
        connection.execute("PRAGMA max_page_count=100000")
        with state.session(KEY, durable=True) as session:
            session.update(certificate="x" * 100_000)
    with opened(tmp_path / "licence.sqlite") as state:
        assert len(record_of(state).certificate) == 100_000


FULL_ON_COMMIT = """
import resource
with state.session(key) as session:
    session.update(counted=1)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for durable in (False, True):
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, hard))
    try:
        with state.session(key, durable=durable) as session:
            session.update(counted=2)
    except LicenceStateError as error:
        print(error.code)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    with state.session(key, durable=durable) as session:
        print(session.record.counted)
with state.session(key) as session:
    session.update(counted=3)
    print(session.record.counted)
state.close()
"""


def test_a_commit_that_the_disk_refuses_is_no_damage_and_holds_nothing_up(tmp_path: Path) -> None:
    said = child(FULL_ON_COMMIT, tmp_path / "licence.sqlite").split("\n")
    assert said == ["licence-state-not-written", "1"] * 2 + ["3"]


HOLD = """
import sqlite3
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("BEGIN {kind}")
connection.execute("UPDATE licences SET total = 9")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("already_open", [False, True])
def test_a_file_locked_for_too_long_is_busy_and_worth_another_try(
    tmp_path: Path, already_open: bool
) -> None:
    path = tmp_path / "licence.sqlite"
    with opened(path) as state:
        write_everything(state)
    kind = "IMMEDIATE" if already_open else "EXCLUSIVE"
    with opened(path, busy_seconds=0.2) as state:
        if already_open:
            record_of(state)
        command = [sys.executable, "-c", PRELUDE + HOLD.format(kind=kind), str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(LicenceStateError) as raised:
                record_of(state)
            holder.kill()
        assert raised.value.code == "licence-state-busy"
        assert raised.value.retryable
        assert record_of(state).total == 7


def test_one_process_at_a_time_is_alone_until_it_ends_or_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "licence.sqlite"
    hold = "with state.alone(5) as alone:\n    print(alone, flush=True)\n    sys.stdin.read()\n"
    with opened(path) as state:
        for ending in ("end", "kill"):
            command = [sys.executable, "-c", PRELUDE + hold, str(path)]
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
                assert holder.stdout is not None
                assert holder.stdout.readline() == b"True\n"
                with state.alone(0.1) as alone:
                    assert not alone
                if ending == "kill":
                    holder.kill()
            with state.alone(1) as alone:
                assert alone


def test_a_second_look_from_one_process_drops_none_of_its_locks(tmp_path: Path) -> None:
    """Closing any handle of a file drops all locks that the process has on it: POSIX says so.

    Another process would then take itself for the last one and remove the log from under us.
    """
    path = tmp_path / "licence.sqlite"
    with opened(path) as first:
        write_everything(first)
        log = path.with_name(path.name + "-wal")
        before = log.stat().st_ino
        with opened(path) as second:
            record_of(second)
        child("with state.session(key) as session:\n    pass\nstate.close()", path)
        assert log.exists()
        assert log.stat().st_ino == before
        with first.session(KEY) as session:
            session.update(counted=18)
    with opened(path) as state:
        assert record_of(state).counted == 18


def look_again(state: SqliteLicenceState) -> None:
    """A minute later."""
    assert state._left is not None
    state._left.again = 0.0


def test_once_the_disk_has_room_everything_that_waits_goes_back(tmp_path: Path) -> None:
    path, later = tmp_path / "licence.sqlite", NOW + timedelta(hours=1)
    with opened(path) as state:
        with state.session(KEY) as session:
            session.commit(Pages("before", 2, NOW))
            session.update(latest_seen=NOW)
        state.leave_disk()
        with state.session(KEY) as session:
            assert session.record.waiting == 0
            session.commit(Pages("meanwhile", 3, NOW))
            session.tally(Pages("nobody's", 1, NOW))
            session.reserve(Pages("under way", 4, NOW))
            session.update(latest_seen=later, tried=later, counted=21)
        state.try_disk_again(KEY)
        assert (state.left_disk, state.durable) == (True, False), "not before a minute is over"
        look_again(state)
        state.try_disk_again(KEY)
        assert (state.left_disk, state.durable) == (False, True)
        record = record_of(state)
        assert (record.waiting, record.reserved, record.total) == (5, 4, 6)
        assert (record.latest_seen, record.counted) == (later, 21)
        with state.session(KEY) as session:
            session.commit(Pages("under way", 4, NOW))
            assert session.is_counted("nobody's")
    with opened(path) as state:
        record = record_of(state)
        assert (record.waiting, record.reserved, record.total) == (9, 0, 10)


def test_while_the_disk_takes_nothing_all_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "licence.sqlite"
    with opened(path) as state:
        record_of(state)
        state.leave_disk()
        with state.session(KEY) as session:
            session.commit(Pages("meanwhile", 3, NOW))
        look_again(state)

        def full(*_: object) -> None:
            raise sqlite3.OperationalError("database or disk is full")

        with monkeypatch.context() as patched:
            patched.setattr("shimmy_vision.adapters.licence.left_disk.LeftDisk.carry_over", full)
            state.try_disk_again(KEY)
        assert (state.left_disk, record_of(state).waiting) == (True, 3)
        look_again(state)
        state.try_disk_again(KEY)
        assert (state.left_disk, record_of(state).waiting) == (False, 3)


def test_nothing_goes_back_in_the_middle_of_a_report(tmp_path: Path) -> None:
    with opened(tmp_path / "licence.sqlite") as state:
        record_of(state)
        state.leave_disk()
        with state.session(KEY) as session:
            sent = Pages("sent", 3, NOW)
            session.commit(sent)
        with state.alone(0) as alone:
            assert alone
            look_again(state)
            state.try_disk_again(KEY)
            # It would be on the disk without the lock of those who report.
            assert (state.left_disk, state.durable) == (True, False)
        with state.session(KEY) as session:
            session.open_batch(Batch("batch", 3, 17, NOW, NOW), [sent])
        look_again(state)
        state.try_disk_again(KEY)
        # An increment whose outcome is not known.
        assert (state.left_disk, state.durable) == (True, False)
        with state.session(KEY) as session:
            session.close_batch(applied=True)
        look_again(state)
        state.try_disk_again(KEY)
        assert (state.left_disk, state.durable) == (False, True)
        record = record_of(state)
        assert (record.waiting, record.total) == (0, 3)
