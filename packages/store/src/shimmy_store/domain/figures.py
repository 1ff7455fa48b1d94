"""What many durations come to: nearest-rank percentiles, so that each figure is one that was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds of ``count`` durations; None where there are none."""

    count: int = 0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


def spread_of(seconds: Sequence[float]) -> Spread:
    """In any order. The p-th percentile is the smallest that p % of all do not exceed."""
    if not seconds:
        return Spread()
    ordered = sorted(seconds)
    p50, p95, p99 = (ordered[_rank(percent, len(ordered)) - 1] for percent in (50, 95, 99))
    return Spread(len(ordered), p50, p95, p99, ordered[-1])


def _rank(percent: int, count: int) -> int:
    """From 1; in whole numbers, since 0.95 * 20 is more than 19 to a computer."""
    return -(-percent * count // 100)
