"""What Prometheus reads. One registry an app, so that two apps in a process do not mix."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Meters:
    """Counters and gauges; labels hold names of endpoints and outcomes, nothing of a customer."""

    def __init__(self) -> None:
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
        self.events = Gauge(
            "shimmy_store_events", "Events in the ledger.", ("state",), registry=made
        )
        self.oldest_event = Gauge(
            "shimmy_store_oldest_event_seconds", "Age of the oldest open event.", registry=made
        )
        self.messages = Gauge(
            "shimmy_store_messages", "Messages in the outbox.", ("state",), registry=made
        )
        self.oldest_message = Gauge(
            "shimmy_store_oldest_message_seconds", "Age of the oldest waiting.", registry=made
        )
        self.alarms = Gauge("shimmy_store_alarms", "Alarms nobody has looked at.", registry=made)
