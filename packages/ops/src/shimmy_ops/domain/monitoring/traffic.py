"""Requests and probes over a window, for people and for objectives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from shimmy_ops.domain.monitoring.increases import (
    History,
    increases_within,
    probes_within,
    summed,
)
from shimmy_ops.domain.monitoring.latency import percentile
from shimmy_ops.domain.monitoring.picture import (
    Availability,
    AvailabilityFound,
    EndpointRequests,
    Requests,
    RequestsFound,
    Unknown,
)
from shimmy_ops.domain.monitoring.store_metrics import BOUNDS, BUCKETS, REQUESTS, is_visit


@dataclass(frozen=True, slots=True)
class Share:
    """``bad`` of ``total``; ``seen`` is False where nobody looked."""

    bad: float
    total: float
    seen: bool = True

    @property
    def ratio(self) -> float | None:
        """None where nothing was counted."""
        return self.bad / self.total if self.total else None


def error_share(history: History, since: datetime, until: datetime) -> Share:
    """Visitors' requests that were answered with 5xx, of all of theirs."""
    within = increases_within(history, since, until)
    by_endpoint = _requests(summed(within))
    visits = [counts for name, counts in by_endpoint.items() if is_visit(name)]
    return Share(sum(bad for bad, _ in visits), sum(total for _, total in visits), bool(within))


def down_share(history: History, since: datetime, until: datetime) -> Share:
    """Probes that found the store down, of all probes."""
    probes = probes_within(history, since, until)
    return Share(sum(not one.up for one in probes), len(probes), bool(probes))


def requests_of(history: History, since: datetime, until: datetime) -> RequestsFound:
    """By endpoint, and visitors' ones overall."""
    within = increases_within(history, since, until)
    if not within:
        return Unknown("no sample of /metrics in the window")
    total = summed(within)
    counts, buckets = _requests(total), _buckets(total)
    endpoints = [_endpoint(name, [counts[name]], [buckets.get(name, {})]) for name in counts]
    visits = [name for name in counts if is_visit(name)]
    overall = _endpoint(
        "", [counts[name] for name in visits], [buckets.get(name, {}) for name in visits]
    )
    return Requests(overall, tuple(sorted(endpoints, key=lambda one: (-one.total, one.endpoint))))


def availability_of(
    history: History, since: datetime, until: datetime, failing: tuple[str, ...]
) -> AvailabilityFound:
    """From our own probes; ``failing`` are the store's checks that are not well now."""
    probes = probes_within(history, since, until)
    if not probes:
        return Unknown("no probe in the window")
    up, last = sum(one.up for one in probes), probes[-1]
    return Availability(up / len(probes), len(probes), up, last.up, last.seconds, failing)


def _requests(total: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Errors and requests by endpoint."""
    found: dict[str, tuple[float, float]] = {}
    for key, value in total.items():
        name, *labels = key.split("|")
        if name == REQUESTS:
            endpoint, status = labels
            bad, every = found.get(endpoint, (0.0, 0.0))
            found[endpoint] = bad + (value if status.startswith("5") else 0.0), every + value
    return found


def _buckets(total: Mapping[str, float]) -> dict[str, dict[float, float]]:
    found: dict[str, dict[float, float]] = {}
    for key, value in total.items():
        name, *labels = key.split("|")
        if name == BUCKETS:
            found.setdefault(labels[0], {})[float(labels[1])] = value
    return found


def _endpoint(
    name: str,
    counts: Iterable[tuple[float, float]],
    buckets: Iterable[Mapping[float, float]],
) -> EndpointRequests:
    each = list(counts)
    merged = _merged(buckets)
    p50, p95, p99 = (percentile(merged, share) for share in (0.5, 0.95, 0.99))
    errors, total = sum(bad for bad, _ in each), sum(every for _, every in each)
    return EndpointRequests(name, round(total), round(errors), p50, p95, p99)


def _merged(buckets: Iterable[Mapping[float, float]]) -> dict[float, float]:
    """Histograms, added. The store's bounds below all that grew are there with nothing."""
    found: dict[float, float] = {}
    for part in buckets:
        for bound, count in part.items():
            found[bound] = found.get(bound, 0.0) + count
    least = min(found, default=0.0)
    return {**dict.fromkeys((one for one in BOUNDS if one < least), 0.0), **found}
