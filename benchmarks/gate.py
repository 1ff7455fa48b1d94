"""What the licence gate costs on a warm process: admit a page, settle it, nothing else.

Metered (the page is reserved, then committed, in the state file) and unlimited. No network: the
licence is confirmed once before. Prints microseconds; exits 1 if a median is above a millisecond.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from typing import Any

from licensed import licensed
from shimmy_vision.ports.vision_order import LicenceOrder
from shimmy_vision.settings import read_settings
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.wiring.licences import open_licensing

ALLOWED_MICROSECONDS = 1000


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2000)
    pages = parser.parse_args().pages
    rows = [measure(plan, pages) for plan in ("startup", "enterprise")]
    print(json.dumps(rows, indent=2))
    return 0 if all(row["median_us"] < ALLOWED_MICROSECONDS for row in rows) else 1


def measure(plan: str, pages: int) -> dict[str, Any]:
    """Microseconds a page; the first page, which asks the server, does not count."""
    with (
        tempfile.TemporaryDirectory() as folder,
        licensed(folder, plan) as variables,
        open_licensing(read_settings(variables), LicenceOrder()) as licensing,
    ):
        settle_pages(admit_pages(1, licensing), licensing, done=True)
        times = []
        for _ in range(pages):
            started = time.perf_counter_ns()
            settle_pages(admit_pages(1, licensing), licensing, done=True)
            times.append((time.perf_counter_ns() - started) / 1000)
    return {
        "plan": plan,
        "pages": pages,
        "median_us": round(statistics.median(times)),
        "p99_us": round(sorted(times)[int(0.99 * len(times))]),
        "worst_us": round(max(times)),
    }


if __name__ == "__main__":
    sys.exit(main())
