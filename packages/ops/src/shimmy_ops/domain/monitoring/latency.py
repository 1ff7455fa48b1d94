"""Percentiles from a histogram's buckets, as Prometheus' histogram_quantile has them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def percentile(buckets: Mapping[float, float], share: float) -> float | None:
    """``buckets`` are counts at most as slow as each bound, the last one infinite. Seconds.

    Interpolated within a bucket; None without an observation; the highest finite bound for what is
    beyond it.
    """
    bounds = sorted(buckets)
    if not bounds or buckets[bounds[-1]] <= 0:
        return None
    rank = share * buckets[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds:
        count = buckets[bound]
        if count >= rank and count > below:
            if math.isinf(bound):
                return lower
            return lower + (bound - lower) * (rank - below) / (count - below)
        if not math.isinf(bound):
            lower, below = bound, count
    return lower
