"""From samples to what happened between them.

A counter begins at nothing with its process, and a scrape may come from any of several. So what
has grown is told from the sample before of the same process, known by when it began; what a
process counted after its last sample is lost. Stores that do not say when they began are taken for
one process, and a counter that shrinks for a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shimmy_ops.domain.monitoring.samples import Books, Findings, Sample
from shimmy_ops.domain.monitoring.store_metrics import Scrape


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether the store answered."""

    at: datetime
    every: float
    up: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Increase:
    """What counters grew by from ``begun`` to ``at``; those that did not grow are left out."""

    begun: datetime
    at: datetime
    every: float
    counts: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Reading:
    """Gauges of one sample, and what was found then."""

    at: datetime
    gauges: Mapping[str, float] | None
    findings: Findings


@dataclass(frozen=True, slots=True)
class History:
    """Samples in order of time, taken apart."""

    probes: tuple[Probe, ...] = ()
    increases: tuple[Increase, ...] = ()
    readings: tuple[Reading, ...] = ()

    def books(self) -> list[Books]:
        """What Stripe and Keygen said, once each, newest last."""
        found: dict[str, Books] = {}
        for reading in self.readings:
            if reading.findings.books is not None:
                found[reading.findings.books.read] = reading.findings.books
        return [found[read] for read in sorted(found)]


def take_apart(samples: Iterable[Sample]) -> History:
    """Samples come in order of time."""
    probes, readings = list[Probe](), list[Reading]()

    def passing() -> Iterator[Sample]:
        for one in samples:
            probes.append(Probe(one.at, one.every, one.up, one.seconds))
            gauges = None if one.scrape is None else one.scrape.gauges
            readings.append(Reading(one.at, gauges, one.findings))
            yield one

    increases = tuple(_increases(passing()))
    return History(tuple(probes), increases, tuple(readings))


def _increases(samples: Iterable[Sample]) -> Iterator[Increase]:
    before: dict[float, tuple[datetime, dict[str, float]]] = {}
    for one in samples:
        if one.scrape is None:
            continue
        known = before.get(one.scrape.born)
        if known is None:
            began = _born(one.scrape)
            if began is not None:
                yield Increase(min(began, one.at), one.at, one.every, _grown({}, one.scrape))
            before[one.scrape.born] = one.at, dict(one.scrape.counters)
            continue
        base_at, base = known
        yield Increase(base_at, one.at, one.every, _grown(base, one.scrape))
        # Two samplers may note the same process in another order than they asked it.
        kept = {
            name: max(value, base.get(name, 0.0)) for name, value in one.scrape.counters.items()
        }
        before[one.scrape.born] = one.at, kept if one.scrape.born else dict(one.scrape.counters)


def _born(scrape: Scrape) -> datetime | None:
    return datetime.fromtimestamp(scrape.born, UTC) if scrape.born else None


def _grown(base: Mapping[str, float], scrape: Scrape) -> dict[str, float]:
    grown = dict[str, float]()
    for name, value in scrape.counters.items():
        more = value - base.get(name, 0.0)
        if more < 0 and not scrape.born:
            more = value
        if more > 0:
            grown[name] = more
    return grown


def increases_within(history: History, since: datetime, until: datetime) -> Sequence[Increase]:
    """Those that end after ``since``, up to ``until``, and did not begin long before it."""
    return [
        one
        for one in history.increases
        if since < one.at <= until and one.begun >= since - timedelta(seconds=2 * one.every)
    ]


def summed(increases: Iterable[Increase]) -> dict[str, float]:
    """All of them together."""
    total = dict[str, float]()
    for one in increases:
        for name, value in one.counts.items():
            total[name] = total.get(name, 0.0) + value
    return total


def probes_within(history: History, since: datetime, until: datetime) -> Sequence[Probe]:
    """After ``since``, up to ``until``."""
    return [one for one in history.probes if since < one.at <= until]


_VOUCHED_SECONDS = 600.0


def coverage(history: History, since: datetime, until: datetime) -> float:
    """The share of the window, 0..1, that lies between samples at most two intervals apart.

    Before the first sample and after the last one, one interval counts as covered. An interval
    counts for ten minutes at most: nobody who looks once a day has watched it.
    """
    whole = (until - since).total_seconds()
    if whole <= 0:
        return 0.0
    covered, end = 0.0, since
    for one in history.probes:
        vouched = timedelta(seconds=min(one.every, _VOUCHED_SECONDS))
        if one.at > until + vouched:
            break
        begins, ends = max(one.at - vouched, end), min(one.at + vouched, until)
        if ends > begins:
            covered += (ends - begins).total_seconds()
            end = ends
    return min(1.0, covered / whole)
