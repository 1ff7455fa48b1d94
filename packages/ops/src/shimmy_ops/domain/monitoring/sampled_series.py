"""Samples as series to be drawn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from shimmy_ops.domain.monitoring.increases import History, Reading
from shimmy_ops.domain.monitoring.picture import Point, Requests, Series
from shimmy_ops.domain.monitoring.store_metrics import EVENTS
from shimmy_ops.domain.monitoring.traffic import down_share, error_share, requests_of

_POINTS = 60


def plot_history(history: History, since: datetime, until: datetime) -> tuple[Series, ...]:
    """At most 60 points each, at equal distances; None where nothing is known."""
    step = (until - since) / _POINTS
    slots = [(since + n * step, since + (n + 1) * step) for n in range(_POINTS)]

    def drawn(value: Callable[[History, datetime, datetime], float | None]) -> tuple[Point, ...]:
        return tuple(Point(end, value(part, begin, end)) for part, begin, end in cut)

    cut = [(_between(history, begin, end), begin, end) for begin, end in slots]
    return (
        Series("error-rate", "Errors", "ratio", drawn(lambda *one: error_share(*one).ratio)),
        Series("availability", "Availability", "ratio", drawn(_up)),
        Series("p99", "99 % of requests within", "seconds", drawn(_p99)),
        Series("events-pending", "Events that wait", "count", drawn(_pending)),
        Series("mrr", "Monthly revenue", "money", drawn(_mrr)),
    )


def _between(history: History, since: datetime, until: datetime) -> History:
    # Increases end after their slot begins; the one that reaches into it may begin long before.
    return History(
        tuple(one for one in history.probes if since < one.at <= until),
        tuple(one for one in history.increases if since < one.at <= until),
        tuple(one for one in history.readings if since < one.at <= until),
    )


def _up(history: History, since: datetime, until: datetime) -> float | None:
    ratio = down_share(history, since, until).ratio
    return None if ratio is None else 1 - ratio


def _p99(history: History, since: datetime, until: datetime) -> float | None:
    found = requests_of(history, since - timedelta(days=1), until)
    return found.overall.p99 if isinstance(found, Requests) else None


def _pending(history: History, _: datetime, __: datetime) -> float | None:
    known = [one for one in history.readings if one.gauges is not None]
    return None if not known else _gauge(known[-1])


def _gauge(reading: Reading) -> float:
    return (reading.gauges or {}).get(f"{EVENTS}|pending", 0.0)


def _mrr(history: History, _: datetime, __: datetime) -> float | None:
    known = [one.mrr for one in history.books() if one.mrr is not None]
    return float(known[-1]) if known else None
