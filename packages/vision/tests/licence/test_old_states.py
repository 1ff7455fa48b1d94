"""State files as each version's own code wrote them open, and go on: ``states/version-N.sql``.

``version-1`` is of revision 0ddc7d7. A version that changes the tables adds a file of its own.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from state_files import KEY, NOW, opened, record_of

from shimmy_vision.adapters.licence.licence_tables import VERSION
from shimmy_vision.ports.licence_state import Pages

_STATES = Path(__file__).parent / "states"


def _kept() -> list[int]:
    return sorted(int(one.stem.partition("-")[2]) for one in _STATES.glob("version-*.sql"))


def test_a_file_of_every_version_is_kept() -> None:
    assert _kept() == list(range(1, VERSION + 1))


@pytest.mark.parametrize("version", _kept())
def test_a_file_that_a_version_left_opens_with_all_it_knew(version: int, tmp_path: Path) -> None:
    path = tmp_path / "licence.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((_STATES / f"version-{version}.sql").read_text(encoding="utf-8"))
        assert connection.execute("PRAGMA user_version").fetchone() == (version,)
    path.chmod(0o600)
    with opened(path) as state:
        record = record_of(state)
        assert (record.certificate, record.latest_seen) == ("certificate", NOW)
        assert record.trouble == "why"
        assert record.tried == NOW - timedelta(hours=1) and record.counted == 17
        assert record.denial is not None and record.denial.code == "CODE"
        # The file lies elsewhere than when it was written, as after a copy: what was still to be
        # reported is kept as pages that nobody reports twice.
        assert (record.waiting, record.uncounted, record.total) == (0, 7, 7)
        with state.session(KEY) as session:
            session.commit(Pages("new", 1, NOW))
            assert session.is_counted("new")
    with opened(path) as state:
        after = record_of(state)
        assert (after.waiting, after.uncounted, after.total) == (1, 7, 8)
