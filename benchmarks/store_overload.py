"""Three times as much as the store is meant for: it sheds what it cannot answer, and recovers.

At the target's rate for a while, at three times that, and at the target's again. Broken, with exit
code 1, is: an answer other than the right one, 429 or 503; an acknowledged event that is not in the
ledger; a customer without their licence or with two; a health check that fails; and, in the last
phase, a 99th percentile above 500 ms or one error in 1000. Requests that are shed are told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from open_loop import Hit, Shot, shoot, summarise
from promises import ALLOWED_ERRORS, ALLOWED_MS
from store_crowd import Crowd, gather_crowd
from store_latency import describe_machine, drain
from store_street import count_licences, open_street

RESULTS = Path(__file__).resolve().parent / "results/store_overload.json"
TARGET = 100.0
SHED = (429, 503)
_HEALTH = "alive"
_HEALTH_EVERY = 20
# The phase after the crowd begins once what waits in sockets has been answered.
_BREATH_SECONDS = 3.0


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20, help="of each phase")
    parser.add_argument("--rate", type=float, default=TARGET, help="the target, a second")
    parser.add_argument("--times", type=float, default=3, help="of the target, in the middle")
    parser.add_argument("--customers", type=int, default=20)
    parser.add_argument("--ledger", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"keep it in {RESULTS.name}")
    args = parser.parse_args()
    report = measure(args)
    print(json.dumps(report, indent=1))
    if args.write:
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
        kept[f"{args.ledger}, {args.times:g} times"] = report
        RESULTS.write_text(f"{json.dumps(kept, indent=1)}\n", encoding="utf-8")
    return 1 if report["broken"] else 0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Everything that was seen, and which promises it broke."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shimmy-bench-")))
        street = stack.enter_context(open_street(folder, args.ledger))
        crowd = gather_crowd(street, args.customers, random.Random(args.seed))
        drain(street)
        phases: dict[str, list[Hit]] = {}
        for name, rate in (
            ("before", args.rate),
            ("crowd", args.rate * args.times),
            ("after", args.rate),
        ):
            count = int(rate * args.seconds)
            phases[name] = asyncio.run(_phase(street.port, rate, count, crowd))
        drained = drain(street)
        kept, licences = street.ledger.read(), count_licences(street)
    hits = [one for phase in phases.values() for one in phase]
    acknowledged = {one.shot.tag for one in hits if one.shot.tag and one.status == 200}
    found = {
        "lost": len(acknowledged - set(kept.ids)),
        "wrong_licences": sum(licences[one] != 1 for one in crowd.customers),
        "undrained": int(drained is None),
        "unsound": sum(not one.right and one.status not in SHED for one in hits),
        "health_failed": sum(one.shot.name == _HEALTH and not one.right for one in hits),
    }
    return {
        "machine": describe_machine(),
        "rate": args.rate,
        "times": args.times,
        "ledger": street.ledger.described,
        "drained_after_seconds": drained,
        "phases": {name: _figures(phase) for name, phase in phases.items()},
        **found,
        "broken": [name for name, count in found.items() if count] + _recovery(phases["after"]),
    }


async def _phase(port: int, rate: float, count: int, crowd: Crowd) -> list[Hit]:
    def make(number: int) -> Shot:
        if number % _HEALTH_EVERY == 0:
            return Shot(_HEALTH, "GET", "/alive", (200,))
        shot = crowd.shot(number)
        # /health may be unwell under a crowd; /alive may not.
        return replace(shot, right=(200, 503)) if shot.name == "health" else shot

    hits = await shoot("127.0.0.1", port, rate, count, make)
    await asyncio.sleep(_BREATH_SECONDS)
    return hits


def _figures(hits: Sequence[Hit]) -> dict[str, Any]:
    served = [one for one in hits if one.right]
    shed = [one for one in hits if not one.right and one.status in SHED]
    return {
        "asked": len(hits),
        "statuses": {str(name): count for name, count in Counter(x.status for x in hits).items()},
        "served": summarise(served),
        "shed": summarise(shed)["count"],
        "shed_p99_ms": summarise(shed)["p99_ms"],
        "alive_p99_ms": summarise([one for one in hits if one.shot.name == _HEALTH])["p99_ms"],
    }


def _recovery(hits: Sequence[Hit]) -> list[str]:
    broken = []
    if summarise(hits)["p99_ms"] > ALLOWED_MS:
        broken.append("p99 after the crowd")
    if sum(not one.right for one in hits) >= max(ALLOWED_ERRORS * len(hits), 1):
        broken.append("errors after the crowd")
    return broken


if __name__ == "__main__":
    sys.exit(main())
