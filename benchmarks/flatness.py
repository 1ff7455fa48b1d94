"""Does a figure stay flat? Over samples of one process: memory, open files, threads."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import psutil

# What the line through all samples may rise by from the first to the last one, as a share of their
# mean; and how many more files and threads the last third may have than the first.
ALLOWED_GROWTH = 0.05
ALLOWED_FILES, ALLOWED_THREADS = 8, 2
WARM_UP = 0.2


@dataclass(frozen=True, slots=True)
class Sample:
    """``seconds`` since the start; ``rss`` and ``pss`` (0: not known) in bytes."""

    seconds: float
    rss: int
    files: int
    threads: int
    pss: int = 0


def sample(pid: int, seconds: float) -> Sample:
    """Of a process that runs; PSS where the system tells it."""
    process = psutil.Process(pid)
    with process.oneshot():
        rss, files, threads = process.memory_info().rss, process.num_fds(), process.num_threads()
    pss = getattr(process.memory_full_info(), "pss", 0)
    return Sample(seconds, rss, files, threads, pss)


def warmed_up(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Without the first fifth, in which caches fill and threads begin."""
    return samples[int(len(samples) * WARM_UP) :]


def describe(samples: Sequence[Sample]) -> dict[str, Any]:
    """What a report says of one process: first and last sample, and whether it grew."""
    if not samples:
        return {"broken": ["no samples"]}
    ends, some = (samples[0], samples[-1]), samples[:: max(len(samples) // 20, 1)]
    return {
        "samples": len(samples),
        "rss_mb": [round(one.rss / 1e6, 1) for one in ends],
        "pss_mb": [round(one.pss / 1e6, 1) for one in ends],
        "growth": growth(samples),
        "rss_mb_by_minute": [[round(one.seconds / 60, 1), round(one.rss / 1e6, 1)] for one in some],
        "files": [one.files for one in ends],
        "threads": [one.threads for one in ends],
        "broken": [f"{name} grew" for name in not_flat(samples)],
    }


def growth(samples: Sequence[Sample]) -> float:
    """What least squares say that memory grew by, as a share of its mean; 0 for a single moment."""
    times, sizes = [one.seconds for one in samples], [float(one.rss) for one in samples]
    if len(set(times)) < 2:
        return 0.0
    slope, _ = statistics.linear_regression(times, sizes)
    return round(slope * (times[-1] - times[0]) / statistics.fmean(sizes), 4)


def not_flat(samples: Sequence[Sample]) -> list[str]:
    """Names of what grew more than it may."""
    third = max(len(samples) // 3, 1)
    first, last = samples[:third], samples[-third:]
    files = statistics.median(one.files for one in last) - statistics.median(
        one.files for one in first
    )
    threads = statistics.median(one.threads for one in last) - statistics.median(
        one.threads for one in first
    )
    found = {
        "memory": growth(samples) > ALLOWED_GROWTH,
        "files": files > ALLOWED_FILES,
        "threads": threads > ALLOWED_THREADS,
    }
    return [name for name, grew in found.items() if grew]
