"""Half an hour of customers and webhooks: the store's memory, files and threads must stay flat.

``shimmy-store serve`` runs as a process of its own against the sandbox's town; requests come at a
steady rate, webhooks most of them. Prints one JSON report. Exit code 1: the store grew (see
``flatness.py`` for the bounds), 99 of 100 requests took longer than 500 ms, one of 1000 failed, or
an acknowledged event is not in the ledger. The first fifth is warm-up and is not judged for growth.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from flatness import Sample, describe, sample, warmed_up
from open_loop import percentile, shoot, summarise
from promises import ALLOWED_ERRORS, ALLOWED_MS
from soak_report import end_with_ctrl_c, judge_answers, keep, tell
from store_crowd import Crowd, gather_crowd
from store_latency import describe_machine, drain
from store_street import Street, open_street

_SLICE_SECONDS = 10.0


def main() -> int:
    """Run, print, judge; Ctrl-C ends it early and judges what there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=50, help="requests a second")
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the report there as well")
    args = parser.parse_args()
    end_with_ctrl_c()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shimmy-soak-")))
        street = stack.enter_context(open_street(folder, args.ledger))
        crowd = gather_crowd(street, args.customers, random.Random(args.seed))
        drain(street)
        report = soak(street, crowd, args.minutes * 60, args.rate)
    keep({**report, "rate": args.rate, "ledger": args.ledger}, args.out)
    return 1 if report["broken"] else 0


def soak(street: Street, crowd: Crowd, seconds: float, rate: float) -> dict[str, Any]:
    """Everything that was seen, and which promises it broke."""
    began, samples, acknowledged = time.monotonic(), list[Sample](), set[str]()
    took_ms, late_ms, slices = list[float](), list[float](), list[float]()
    pid, piece, errors = street.processes["store"], min(_SLICE_SECONDS, seconds / 10), 0
    try:
        while (spent := time.monotonic() - began) < seconds:
            count = max(int(rate * piece), 1)
            hits = asyncio.run(shoot("127.0.0.1", street.port, rate, count, crowd.shot))
            errors += sum(not one.right for one in hits)
            acknowledged |= {one.shot.tag for one in hits if one.shot.tag and one.right}
            took_ms += [one.took_ms for one in hits]
            late_ms += [one.late_ms for one in hits]
            slices.append(float(summarise(hits)["p99_ms"]))
            samples.append(sample(pid, time.monotonic() - began))
            told = f"{samples[-1].rss / 1e6:.0f} MB, {len(took_ms)} answers, {errors} wrong"
            tell(spent, seconds, told)
    except KeyboardInterrupt:
        print("stopped early", file=sys.stderr)
    drained = drain(street)
    lost = len(acknowledged - set(street.ledger.read().ids))
    store = describe(warmed_up(samples))
    took_ms.sort()
    p50, p99 = (percentile(took_ms or [0.0], one) for one in (50, 99))
    broken = [*store["broken"], *judge_answers(len(took_ms), errors, p99)]
    broken += ["lost"] if lost or drained is None else []
    return {
        "machine": describe_machine(),
        "seconds": round(time.monotonic() - began, 1),
        "requests": len(took_ms),
        "errors": errors,
        "error_rate": round(errors / max(len(took_ms), 1), 6),
        "p50_ms": p50,
        "p99_ms": p99,
        "max_ms": round(took_ms[-1], 1) if took_ms else 0.0,
        "p99_ms_worst_slice": max(slices, default=0.0),
        "promises": {"p99_ms": ALLOWED_MS, "error_rate": ALLOWED_ERRORS},
        "generator_late_p99_ms": percentile(sorted(late_ms) or [0.0], 99),
        "processes": {"store": store},
        "lost": lost,
        "broken": broken,
    }


if __name__ == "__main__":
    sys.exit(main())
