"""Which of the shared files a worker counts in.

Prometheus's client makes files for each process and never removes those that were counted in: a
worker that is begun anew every minute would fill the folder. So a worker takes the first place that
nobody has, and counts on where whoever had it before has ended.
"""

from __future__ import annotations

import fcntl
import itertools
from functools import partial
from pathlib import Path
from typing import IO

from prometheus_client import values


def take_meter_slot(folder: str) -> IO[bytes]:
    """Count in this folder from now on, until the process ends; the open file holds the place.

    Before the first meter is made: they look once where they count.
    """
    for number in itertools.count(1):
        held = (Path(folder) / f"slot-{number}").open("ab")
        try:
            # Given back by the kernel, however the process ends.
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held.close()
            continue
        counted_as = partial(int, number)
        values.ValueClass = values.MultiProcessValue(counted_as)  # type: ignore[no-untyped-call]
        return held
    raise AssertionError("there is always another number")
