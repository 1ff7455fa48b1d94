"""Report pages to the licence server, each at most once whatever gets lost on the way."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from shimmy_vision.domain.licence.licence_facts import Denial
from shimmy_vision.domain.licence.metering import (
    BATCH_PAGES,
    LARGEST_BATCH,
    Batch,
    fit_pages,
    is_month_settling,
    is_sync_due,
    judge_silence,
)
from shimmy_vision.errors import LicenceServerError
from shimmy_vision.ports.licence_server import NotCounted, Reading
from shimmy_vision.ports.licensing import Licensing

# "nothing-due", "counted" everything, "in-doubt" until later, "no-room" under the cap,
# "unheard" server, "denied" licence, "busy" elsewhere.
Synced: TypeAlias = Literal[
    "nothing-due", "counted", "in-doubt", "no-room", "unheard", "denied", "busy"
]
_CROWDED = 3


@dataclass(frozen=True, slots=True)
class _Open:
    """A batch noted in the state, about to be sent for ``licence``."""

    batch: Batch
    licence: str


def sync_pages(
    key: str,
    licensing: Licensing,
    *,
    force: bool = False,
    leaving: bool = False,
    wait: float = 0,
) -> Synced:
    """Send what waits if it is due, or in any case with ``force``.

    ``leaving`` makes everything due that waits, unless the server was not heard a moment ago.
    ``wait`` is how many seconds another process that does the same is waited for. Raises
    LicenceStateError.
    """
    if not force and not _is_due(key, licensing, leaving=leaving):
        return "nothing-due"
    with licensing.state.alone(wait) as alone:
        if not alone:
            return "busy"
        try:
            return _report_all(key, licensing)
        except LicenceServerError:
            with licensing.state.session(key) as session:
                session.update(sync_failed=licensing.now())
            return "unheard"


def _is_due(key: str, licensing: Licensing, *, leaving: bool) -> bool:
    with licensing.state.session(key) as session:
        record, oldest = session.record, session.oldest_waiting()
    waiting = max(record.waiting, BATCH_PAGES) if leaving and record.waiting else record.waiting
    return is_sync_due(waiting, oldest, record.sync_failed, licensing.now())


def _report_all(key: str, licensing: Licensing) -> Synced:
    crowded = 0
    while crowded < _CROWDED:
        with licensing.state.session(key) as session:
            session.release_orphans(licensing.now())
            if not session.record.waiting:
                return "counted"
        reading = licensing.server.read(key)
        if isinstance(reading, Denial):
            return _deny(key, licensing, reading)
        prepared = _prepare(key, licensing, reading)
        if not isinstance(prepared, _Open):
            return prepared
        outcome = _send(key, licensing, prepared)
        if outcome == "over-limit":
            crowded += 1  # Another machine took the room since it was read: look again.
        elif outcome is not None:
            return outcome
    return "no-room"


def _prepare(key: str, licensing: Licensing, reading: Reading) -> _Open | Synced:
    """Settle a batch in doubt by what the server has now, then open the next one."""
    facts = reading.facts
    with licensing.state.session(key, durable=True) as session:
        session.update(counted=facts.uses, sync_failed=None)
        doubtful = session.batch()
        if doubtful is not None:
            silence = judge_silence(doubtful, facts, reading.at)
            if silence == "too-early":
                session.doubt_batch(reading.at)
                return "in-doubt"
            session.close_batch(applied=silence == "applied")
        if is_month_settling(facts, reading.at):
            return "in-doubt"
        if facts.period_start is not None:
            session.drop_before(facts.period_start)
        if not session.record.waiting:
            return "counted"
        oldest = session.waiting(LARGEST_BATCH)
        pages = oldest[: fit_pages([one.count for one in oldest], facts)]
        if not pages:
            return "no-room"
        count = sum(one.count for one in pages)
        batch = Batch(uuid.uuid4().hex, count, facts.uses, facts.period_start, reading.at)
        session.open_batch(batch, pages)
        return _Open(batch, facts.id)


def _send(key: str, licensing: Licensing, prepared: _Open) -> Synced | Literal["over-limit"] | None:
    """None when the next batch may follow at once."""
    try:
        counted = licensing.server.increment(key, prepared.licence, prepared.batch.pages)
    except LicenceServerError as error:
        if not error.sent:
            _close(key, licensing, applied=False)
        raise
    match counted:
        case Reading(facts=facts):
            _close(key, licensing, applied=True, counted=facts.uses)
            return None
        case NotCounted(reason=reason):
            _close(key, licensing, applied=False)
            return "over-limit" if reason == "over-limit" else "busy"
        case Denial():
            _close(key, licensing, applied=False)
            return _deny(key, licensing, counted)


def _close(key: str, licensing: Licensing, *, applied: bool, counted: int | None = None) -> None:
    with licensing.state.session(key, durable=True) as session:
        session.close_batch(applied=applied)
        if counted is not None:
            session.update(counted=counted)


def _deny(key: str, licensing: Licensing, denial: Denial) -> Synced:
    now: datetime = licensing.now()
    with licensing.state.session(key, durable=True) as session:
        session.update(denial=denial, tried=now, trouble="")
    return "denied"
