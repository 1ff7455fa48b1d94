"""Half an hour of customers and webhooks: the store's memory, files and threads must stay flat.

``shimmy-store serve`` runs as a process of its own against the sandbox's town; requests come at a
steady rate, webhooks most of them. Prints one JSON report. Exit code 1: the store grew (see
``flatness.py`` for the bounds), 99 of 100 requests took longer than 500 ms, one of 1000 failed, or
an acknowledged event is not in the ledger. The first fifth is warm-up and is not judged for growth.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flatness import Sample, growth, not_flat, sample
from open_loop import shoot, summarise
from store_crowd import Crowd, gather_crowd
from store_latency import ALLOWED_ERRORS, ALLOWED_MS, describe_machine, drain
from store_street import Street, open_street

_SLICE_SECONDS = 10.0
_WARM_UP = 0.2


def main() -> int:
    """Run, print, judge; Ctrl-C ends it early and judges what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shimmy-soak-")))
        street = stack.enter_context(open_street(folder, args.ledger))
        crowd = gather_crowd(street, args.customers, random.Random(args.seed))
        drain(street)
        report = soak(street, crowd, args.minutes * 60, args.rate)
    print(json.dumps({**report, "rate": args.rate, "ledger": args.ledger}))
    return 1 if report["broken"] else 0


def soak(street: Street, crowd: Crowd, seconds: float, rate: float) -> dict[str, Any]:
    """Everything that was seen, and which promises it broke."""
    began, samples, acknowledged = time.monotonic(), list[Sample](), set[str]()
    asked = errors = 0
    slowest = list[float]()
    pid, piece = street.processes["store"], min(_SLICE_SECONDS, seconds / 10)
    try:
        while (spent := time.monotonic() - began) < seconds:
            count = max(int(rate * piece), 1)
            hits = asyncio.run(shoot("127.0.0.1", street.port, rate, count, crowd.shot))
            asked, errors = asked + len(hits), errors + sum(not one.right for one in hits)
            acknowledged |= {one.shot.tag for one in hits if one.shot.tag and one.right}
            slowest.append(float(summarise(hits)["p99_ms"]))
            samples.append(sample(pid, time.monotonic() - began))
            _tell(spent, seconds, samples[-1])
    except KeyboardInterrupt:
        print("\nstopped early", file=sys.stderr)
    drained = drain(street)
    judged = samples[int(len(samples) * _WARM_UP) :]
    lost = len(acknowledged - set(street.ledger.read().ids))
    # Of the slices' own 99th percentiles: one bad moment is not averaged away, nor is it all.
    p99 = sorted(slowest)[len(slowest) // 2] if slowest else 0.0
    broken = [f"{name} grew" for name in not_flat(judged)] if judged else ["no samples"]
    broken += ["p99"] if p99 > ALLOWED_MS else []
    broken += ["errors"] if errors >= max(ALLOWED_ERRORS * asked, 1) else []
    broken += ["lost"] if lost or drained is None else []
    return {
        "machine": describe_machine(),
        "seconds": round(time.monotonic() - began, 1),
        "requests": asked,
        "error_rate": round(errors / max(asked, 1), 6),
        "p99_ms": p99,
        "p99_ms_worst_slice": max(slowest, default=0.0),
        "promises": {"p99_ms": ALLOWED_MS, "error_rate": ALLOWED_ERRORS},
        "rss_mb": [round(one.rss / 1e6, 1) for one in (judged[0], judged[-1])] if judged else [],
        "growth": growth(judged),
        "files": [one.files for one in (judged[0], judged[-1])] if judged else [],
        "threads": [one.threads for one in (judged[0], judged[-1])] if judged else [],
        "lost": lost,
        "broken": broken,
    }


def _tell(spent: float, seconds: float, last: Sample) -> None:
    if sys.stderr.isatty():
        told = f"{spent:.0f} of {seconds:.0f} s, {last.rss / 1e6:.0f} MB, {last.files} files"
        print(f"\r{told}   ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
