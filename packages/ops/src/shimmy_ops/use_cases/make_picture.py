"""Put together everything that a dashboard shows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from shimmy_ops.domain.monitoring.alerting import firing_alerts
from shimmy_ops.domain.monitoring.burning import LONGEST
from shimmy_ops.domain.monitoring.increases import History, coverage, take_apart
from shimmy_ops.domain.monitoring.objectives import judge_objectives
from shimmy_ops.domain.monitoring.picture import (
    Alert,
    LossesFound,
    Picture,
    RevenueFound,
    StripeDelivery,
    Support,
    Unknown,
    Window,
)
from shimmy_ops.domain.monitoring.revenue import losses_of, revenue_of
from shimmy_ops.domain.monitoring.sampled_series import plot_history
from shimmy_ops.domain.monitoring.store_sections import (
    alarms_of,
    customers_of,
    failing_checks,
    outbox_of,
    webhooks_of,
)
from shimmy_ops.domain.monitoring.tickets import support_of
from shimmy_ops.domain.monitoring.traffic import availability_of, requests_of
from shimmy_ops.errors import OpsError
from shimmy_ops.ports.monitoring import Sources
from shimmy_ops.ports.store_desk import Document
from shimmy_ops.use_cases.read_books import BooksRead

# What the store's figures may be asked for.
_MOST_HOURS = 744
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class _Said:
    """What the store says now."""

    figures: Document | Unknown
    failing: tuple[str, ...]
    version: str


def make_picture(sources: Sources, hours: float, books: BooksRead) -> Picture:
    """The last ``hours`` hours, now. Never raises for a source that cannot be read."""
    now = sources.now()
    since = now - timedelta(hours=hours)
    read = _tried(lambda: take_apart(sources.samples.since(min(since, now - LONGEST), now)))
    history = History() if isinstance(read, Unknown) else read
    window = Window(hours, since, coverage(history, since, now))
    said = _ask_store(sources, hours)
    requests = read if isinstance(read, Unknown) else requests_of(history, since, now)
    webhooks = _section(said.figures, webhooks_of)
    outbox = _section(said.figures, outbox_of)
    revenue, losses = _earnings(sources, books, since, now)
    return Picture(
        taken=now,
        profile=sources.profile,
        version=said.version,
        window=window,
        requests=requests,
        availability=(
            read
            if isinstance(read, Unknown)
            else availability_of(history, since, now, said.failing)
        ),
        webhooks=webhooks,
        stripe_delivery=_tried(lambda: _delivery(sources, now)),
        outbox=outbox,
        alarms=_section(said.figures, lambda read: alarms_of(read.get("alarms", ()))),
        drift=books.drift,
        losses=losses,
        revenue=revenue,
        support=_tried(lambda: _support(sources, said.figures, since, now)),
        objectives=judge_objectives(history, window, now, requests, webhooks, outbox, books.drift),
        alerts=_alerts(sources, now),
        history=plot_history(history, since, now),
    )


def _tried(read: Callable[[], Found]) -> Found | Unknown:
    try:
        return read()
    except OpsError as error:
        return Unknown(f"{error.message} [{error.code}]")


def _section(figures: Document | Unknown, read: Callable[[Document], Found]) -> Found | Unknown:
    return figures if isinstance(figures, Unknown) else _tried(lambda: read(figures))


def _ask_store(sources: Sources, hours: float) -> _Said:
    asked = max(1, min(_MOST_HOURS, math.ceil(hours)))

    def figures() -> Document:
        with sources.desk() as desk:
            return desk.figures(asked)

    def health() -> Any:
        with sources.desk() as desk:
            return desk.get("/health").body

    found, body = _tried(figures), _tried(health)
    read = _parsed(body) if isinstance(body, str) else None
    version = read.get("version") if isinstance(read, dict) else ""
    return _Said(found, failing_checks(read), str(version or ""))


def _parsed(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _delivery(sources: Sources, now: datetime) -> StripeDelivery:
    with sources.money() as money:
        found = money.endpoint(sources.webhook_url)
    oldest = min(found.undelivered, default=None)
    age = None if oldest is None else max(0.0, (now - oldest).total_seconds())
    status = found.status
    return StripeDelivery(
        "enabled" if status == "enabled" else "missing" if status == "missing" else "disabled",
        len(found.undelivered),
        age,
    )


def _earnings(
    sources: Sources, books: BooksRead, since: datetime, now: datetime
) -> tuple[RevenueFound, LossesFound]:
    if isinstance(books.money, Unknown):
        return books.money, books.money
    return (
        revenue_of(books.money, sources.catalogue, since, now),
        losses_of(books.money, sources.catalogue.currency, since, now),
    )


def _support(
    sources: Sources, figures: Document | Unknown, since: datetime, now: datetime
) -> Support | Unknown:
    tickets = sources.tickets.tickets()
    if tickets is None:
        return Unknown("no tickets_file is set in the profile")
    customers = None if isinstance(figures, Unknown) else customers_of(figures)
    return support_of(tickets, customers, since, now)


def _alerts(sources: Sources, now: datetime) -> tuple[Alert, ...]:
    read = _tried(lambda: firing_alerts(sources.alerts.read()))
    if isinstance(read, Unknown):
        title = "What was alerted is not known"
        return (Alert("alerts-unreadable", title, read.reason, "page", "firing", now, None, ()),)
    return read
