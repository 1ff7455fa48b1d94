"""One licence's state file on its own, without a server, and processes that open it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.domain.licence.licence_facts import Denial, Machine
from shimmy_vision.domain.licence.metering import Batch
from shimmy_vision.ports.licence_state import LicenceRecord, Pages

ACCOUNT, FINGERPRINT, KEY = "account", "f" * 64, "key-of-a-licence"
NOW = datetime(2026, 11, 25, 12, 30, 15, 123456, tzinfo=UTC)
PRELUDE = f"""
import os, sys
from pathlib import Path
from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.errors import LicenceStateError
path = Path(sys.argv[1])
state = SqliteLicenceState(path, {ACCOUNT!r}, busy_seconds=5)
state.use_fingerprint({FINGERPRINT!r})
key = {KEY!r}
"""


def state_at(path: Path, busy_seconds: float = 30) -> SqliteLicenceState:
    state = SqliteLicenceState(path, ACCOUNT, busy_seconds=busy_seconds)
    state.use_fingerprint(FINGERPRINT)
    return state


@contextmanager
def opened(path: Path, busy_seconds: float = 30) -> Iterator[SqliteLicenceState]:
    with closing(state_at(path, busy_seconds)) as state:
        yield state


def record_of(state: SqliteLicenceState) -> LicenceRecord:
    with state.session(KEY) as session:
        return session.record


def write_everything(state: SqliteLicenceState) -> None:
    """Each table with each kind of row."""
    machine = Machine("id-1", "a" * 64, "a name", "Linux", NOW)
    with state.session(KEY, durable=True) as session:
        session.update(
            certificate="certificate",
            denial=Denial("CODE", "detail", NOW, "licence", NOW, 5, (machine,)),
            latest_seen=NOW,
            tried=NOW - timedelta(hours=1),
            trouble="why",
            counted=17,
        )
        session.keep_key()
        sent, waiting = Pages("sent", 3, NOW), Pages("waiting", 4, NOW + timedelta(seconds=1))
        session.commit(sent)
        session.commit(waiting)
        session.reserve(Pages("reserved", 5, NOW))
        session.open_batch(Batch("batch", 3, 17, NOW, NOW), [sent])


def child(code: str, path: Path) -> str:
    """Run ``code`` in another process, with ``path``, ``state`` and ``key``; what it printed."""
    command = [sys.executable, "-c", PRELUDE + code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
