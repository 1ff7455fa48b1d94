"""Samples made by hand: a store whose every request is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from shimmy_ops.domain.monitoring.samples import Findings, Sample
from shimmy_ops.domain.monitoring.store_metrics import REQUESTS, Scrape

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def ago(**span: float) -> datetime:
    return NOW - timedelta(**span)


def visits(good: float, bad: float = 0) -> dict[str, float]:
    """Counters of a store that answered so many requests well, and so many with 500."""
    return {f"{REQUESTS}|buy|200": good, f"{REQUESTS}|buy|500": bad}


def sampled(
    at: datetime,
    counters: Mapping[str, float] | None = None,
    *,
    born: datetime | None = None,
    up: bool = True,
    gauges: Mapping[str, float] | None = None,
    findings: Findings | None = None,
    every: float = 60,
) -> Sample:
    scrape = None
    if counters is not None or gauges is not None:
        made = 0.0 if born is None else born.timestamp()
        scrape = Scrape(made, dict(counters or {}), dict(gauges or {}))
    return Sample(at, every, up, 0.1, scrape, findings or Findings())


def each_minute(hours: float) -> Iterable[datetime]:
    """The minutes of the last hours, oldest first, now the last one."""
    count = round(hours * 60)
    return [ago(minutes=count - number) for number in range(count + 1)]
