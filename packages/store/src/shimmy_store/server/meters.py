"""What Prometheus reads. One registry an app, so that two apps in a process do not mix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shimmy_store.ports.ledger import Stock

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """Counters; labels hold names of endpoints and outcomes, nothing of a customer.

    ``shared``: the folder where processes count that answer at one address; Prometheus's client
    has to have been told of it in their environment.
    """

    def __init__(self, shared: str = "") -> None:
        self._shared = shared
        made = CollectorRegistry()
        self.registry = made
        self.requests = Counter(
            "shimmy_store_requests", "Requests.", ("endpoint", "status"), registry=made
        )
        self.seconds = Histogram(
            "shimmy_store_request_seconds",
            "From a request's start to its answer.",
            ("endpoint",),
            buckets=_SECONDS,
            registry=made,
        )
        self.webhooks = Counter(
            "shimmy_store_webhooks", "Webhooks by what became of them.", ("outcome",), registry=made
        )
        self.settled = Counter("shimmy_store_events_settled", "Events settled.", registry=made)
        self.postponed = Counter(
            "shimmy_store_events_postponed", "Events that have to wait.", registry=made
        )
        self.mails = Counter("shimmy_store_mails", "Mails by outcome.", ("outcome",), registry=made)
        self.rounds = Counter(
            "shimmy_store_rounds_failed", "Rounds of work that failed.", ("work",), registry=made
        )

    def written(self, stock: Stock, now: datetime) -> bytes:
        """What this worker and its siblings counted, and what the ledger holds at this moment."""
        counted = self.registry
        if self._shared:
            # Here: hosts with one process need not have it.
            from prometheus_client.multiprocess import MultiProcessCollector

            counted = CollectorRegistry()
            MultiProcessCollector(counted, path=self._shared)  # type: ignore[no-untyped-call]
        held = CollectorRegistry()
        held.register(_Held(stock, now))
        return generate_latest(counted) + generate_latest(held)


class _Held(Collector):
    """The ledger's own figures. The same at every worker: of several take one, not the sum."""

    def __init__(self, stock: Stock, now: datetime) -> None:
        self._stock, self._now = stock, now

    def collect(self) -> Iterator[Metric]:
        stock = self._stock
        yield _by_state("shimmy_store_events", "Events in the ledger.", stock.events)
        messages = {"waiting": stock.messages_waiting, "parked": stock.messages_parked}
        yield _by_state("shimmy_store_messages", "Messages in the outbox.", messages)
        yield GaugeMetricFamily(
            "shimmy_store_oldest_event_seconds",
            "Age of the oldest open event.",
            _age(stock.oldest_event, self._now),
        )
        yield GaugeMetricFamily(
            "shimmy_store_oldest_message_seconds",
            "Age of the oldest waiting.",
            _age(stock.oldest_message, self._now),
        )
        yield GaugeMetricFamily("shimmy_store_alarms", "Alarms nobody has looked at.", stock.alarms)


def _by_state(name: str, told: str, counts: Mapping[Any, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, told, labels=("state",))
    for state, count in counts.items():
        family.add_metric((state,), count)
    return family


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else (now - since).total_seconds()
