"""Probe the store, read what it counts, and note what alerts are decided from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from shimmy_ops.domain.monitoring.picture import Drift, Unknown
from shimmy_ops.domain.monitoring.revenue import revenue_of, undecided_disputes
from shimmy_ops.domain.monitoring.samples import Books, Findings, Sample
from shimmy_ops.domain.monitoring.store_metrics import Scrape
from shimmy_ops.domain.monitoring.store_sections import alarms_of
from shimmy_ops.errors import DeskError, MonitorError, OpsError
from shimmy_ops.ports.monitoring import Sources
from shimmy_ops.use_cases.read_books import BooksRead, read_books

KEPT_FOR = timedelta(days=40)
# Both accounts are asked page by page: not at every sample.
_BOOKS_GOOD_FOR = timedelta(minutes=10)
_WELL = 200
Found = TypeVar("Found")


def take_sample(
    sources: Sources, every: float, books: Callable[[], BooksRead] | None = None
) -> Sample:
    """One sample, kept; old ones are pruned. ``every``: seconds between samples.

    ``books`` reads both accounts, by itself where it is not given. Whatever cannot be read is noted
    in the sample. Raises MonitorError where it cannot be kept, KeepingError where the store's
    tokens cannot be read.
    """
    at, unread = sources.now(), dict[str, str]()

    def tried(name: str, read: Callable[[], Found]) -> Found | None:
        try:
            return read()
        except OpsError as error:
            unread[name] = error.code
            return None

    up, seconds = _probe(sources)
    scrape = tried("metrics", lambda: _scrape(sources))
    endpoint = tried("endpoint", lambda: _endpoint(sources))
    status, undelivered = endpoint or (None, None)
    findings = Findings(
        tried("alarms", lambda: _alarms(sources)),
        status,
        undelivered,
        tried("backup", lambda: _backup(sources, at)),
        tried("tickets", lambda: _unanswered(sources, at)),
        _books(sources, at, books or (lambda: read_books(sources))),
        unread,
    )
    sample = Sample(at, every, up, seconds, scrape, findings)
    sources.samples.add(sample)
    sources.samples.prune(at - KEPT_FOR)
    return sample


def _probe(sources: Sources) -> tuple[bool, float]:
    """Whether the store is well, and how long asking took."""
    began = sources.now()
    # What keeps us from asking is no failure of the store.
    with sources.desk() as desk:
        try:
            answered = desk.get("/health")
        except DeskError:
            return False, (sources.now() - began).total_seconds()
    return answered.status == _WELL, answered.seconds


def _scrape(sources: Sources) -> Scrape:
    with sources.desk() as desk:
        return sources.scrapes.read(desk.metrics())


def _endpoint(sources: Sources) -> tuple[str, float | None]:
    with sources.money() as books:
        found = books.endpoint(sources.webhook_url)
    oldest = min(found.undelivered, default=None)
    return found.status, None if oldest is None else _age(oldest, sources.now())


def _alarms(sources: Sources) -> dict[str, int]:
    with sources.desk() as desk:
        open_ones = alarms_of(desk.alarms()).open
    return dict(Counter(one.code for one in open_ones))


def _backup(sources: Sources, at: datetime) -> float | None:
    made = [_moment(one.made) for one in sources.backups.read()]
    return _age(max(made), at) if made else None


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise MonitorError(
            "backups-malformed",
            "backups.json has a time that is none.",
            hint="shimmy-ops backup list says more.",
        ) from error


def _unanswered(sources: Sources, at: datetime) -> float | None:
    tickets = sources.tickets.tickets() or ()
    waiting = [one.opened for one in tickets if one.replied is None and one.closed is None]
    return _age(min(waiting), at) if waiting else None


def _age(moment: datetime, at: datetime) -> float:
    return max(0.0, (at - moment).total_seconds())


def _books(sources: Sources, at: datetime, read: Callable[[], BooksRead]) -> Books:
    """Those of the sample before, while they are whole and young enough."""
    before = None
    for one in sources.samples.since(at - _BOOKS_GOOD_FOR, at):
        before = one.findings.books or before
    if before is not None and before.drift is not None and before.mrr is not None:
        age = at - datetime.fromisoformat(before.read)
        if timedelta(0) <= age < _BOOKS_GOOD_FOR:
            return before
    return _noted(sources, read())


def _noted(sources: Sources, found: BooksRead) -> Books:
    drift = None
    if isinstance(found.drift, Drift):
        drift = tuple(one.subject for one in found.drift.mismatches)
    if isinstance(found.money, Unknown):
        return Books(found.read.isoformat(), drift=drift)
    revenue = revenue_of(found.money, sources.catalogue, found.read, found.read)
    disputes = undecided_disputes(found.money)
    return Books(found.read.isoformat(), revenue.mrr, revenue.active, drift, disputes)
