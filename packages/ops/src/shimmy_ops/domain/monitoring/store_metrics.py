"""What the store exports at /metrics, by name: the one place that knows the names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

REQUESTS = "shimmy_store_requests_total"
SECONDS = "shimmy_store_request_seconds"
BUCKETS = f"{SECONDS}_bucket"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
WEBHOOKS = "shimmy_store_webhooks_total"
SETTLED = "shimmy_store_events_settled_total"
POSTPONED = "shimmy_store_events_postponed_total"
MAILS = "shimmy_store_mails_total"
ROUNDS_FAILED = "shimmy_store_rounds_failed_total"
EVENTS = "shimmy_store_events"
OLDEST_EVENT = "shimmy_store_oldest_event_seconds"
MESSAGES = "shimmy_store_messages"
OLDEST_MESSAGE = "shimmy_store_oldest_message_seconds"
ALARMS = "shimmy_store_alarms"
# One without labels: made when the process begins, so it tells processes apart.
BORN = "shimmy_store_events_settled_created"

_COUNTERS: Mapping[str, tuple[str, ...]] = {
    REQUESTS: ("endpoint", "status"),
    BUCKETS: ("endpoint", "le"),
    WEBHOOKS: ("outcome",),
    SETTLED: (),
    POSTPONED: (),
    MAILS: ("outcome",),
    ROUNDS_FAILED: ("work",),
}
_GAUGES: Mapping[str, tuple[str, ...]] = {
    EVENTS: ("state",),
    OLDEST_EVENT: (),
    MESSAGES: ("state",),
    OLDEST_MESSAGE: (),
    ALARMS: (),
}
_OWN = ("health", "metrics")


class Metric(NamedTuple):
    """One line of /metrics."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one process of the store counted so far.

    ``born`` is when it began, in seconds since 1970 by its clock, 0.0 where it does not say. Keys
    of ``counters`` and ``gauges`` are a metric's name and its labels' values, joined by "|".
    """

    born: float
    counters: Mapping[str, float]
    gauges: Mapping[str, float]


def read_scrape(metrics: Iterable[Metric]) -> Scrape:
    """What is ours of them; everything else is left out."""
    born, counters, gauges = 0.0, dict[str, float](), dict[str, float]()
    for metric in metrics:
        if metric.name == BORN:
            born = metric.value
        elif metric.name in _COUNTERS:
            counters[_key(metric, _COUNTERS[metric.name])] = metric.value
        elif metric.name in _GAUGES:
            gauges[_key(metric, _GAUGES[metric.name])] = metric.value
    return Scrape(born, counters, gauges)


def is_visit(endpoint: str) -> bool:
    """Whether requests to an endpoint are visitors', not ours: probes would dilute the rate."""
    return endpoint not in _OWN and not endpoint.startswith("operator_")


def _key(metric: Metric, labels: tuple[str, ...]) -> str:
    return "|".join([metric.name, *(metric.labels.get(one, "") for one in labels)])
