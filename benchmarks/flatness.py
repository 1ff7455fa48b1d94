"""Does a figure stay flat? Over samples of one process: memory, open files, threads."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import psutil

# What the line through all samples may rise by from the first to the last one, as a share of their
# mean; and how many more files and threads the last third may have than the first.
ALLOWED_GROWTH = 0.05
ALLOWED_FILES, ALLOWED_THREADS = 8, 2


@dataclass(frozen=True, slots=True)
class Sample:
    """``seconds`` since the start; ``rss`` in bytes."""

    seconds: float
    rss: int
    files: int
    threads: int


def sample(pid: int, seconds: float) -> Sample:
    """Of a process that runs."""
    process = psutil.Process(pid)
    with process.oneshot():
        return Sample(seconds, process.memory_info().rss, process.num_fds(), process.num_threads())


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
