"""How the store grows: events a second to saturation, start-up, memory, and lookups.

Parts, each on SQLite and PostgreSQL with ``--ledger both``, and what each takes:

  rates    webhooks and pages at rising rates until 99 of 100 take over 500 ms: latency at each
           rate and the highest one that held (``--step-seconds`` 15: about three minutes)
  memory   ``--events`` 100,000 signed webhooks, as fast as the store takes them: resident memory
           every tenth of the way and its slope after the first third (five to ten minutes)
  start    from the command to the first answer, empty and after those events (half a minute)
  lookup   the ledger's questions with ``--customers`` 1,000,000 (four minutes, 1.5 GB of disk)

Exit code 1: memory grows by more than 2 kB an event, or a question about one customer grows with
the number of customers. The generator and the sandbox share the machine with the store; the share
of a core that each took stands beside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

from open_loop import Shot, Volley, shoot, summarise
from store_crowd import Crowd, gather_crowd
from store_latency import cpu_seconds, describe_machine, drain
from store_lookup import measure_lookup
from store_street import Street, open_street, restarted

RESULTS = Path(__file__).resolve().parent / "results/store_scale.json"
PARTS = ("rates", "memory", "start", "lookup")
ALLOWED_MS, ALLOWED_ERRORS, ALLOWED_BYTES_AN_EVENT = 500.0, 0.001, 2000.0
_WARM = 1 / 3


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="default: all")
    parser.add_argument("--ledger", choices=("sqlite", "postgresql", "both"), default="sqlite")
    parser.add_argument("--rates", default="50,100,200,300,400,600,800,1200,1600")
    parser.add_argument("--step-seconds", type=float, default=15)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--customers", type=int, default=1_000_000, help="of the lookups")
    parser.add_argument("--buyers", type=int, default=20, help="whom webhooks tell of")
    parser.add_argument("--write", action="store_true", help=f"keep them in {RESULTS.name}")
    args = parser.parse_args()
    broken: list[str] = []
    for ledger in ("sqlite", "postgresql") if args.ledger == "both" else (args.ledger,):
        report = measure(args, ledger)
        print(json.dumps({ledger: report}, indent=2), flush=True)
        broken += [f"{ledger}: {one}" for one in report["broken"]]
        if args.write:
            _keep(ledger, report)
    for one in broken:
        print(f"broken: {one}", file=sys.stderr)
    return 1 if broken else 0


def measure(args: argparse.Namespace, ledger: str) -> dict[str, Any]:
    """The parts that are wanted, on one kind of ledger."""
    wanted = args.parts.split(",")
    report: dict[str, Any] = {"machine": describe_machine()}
    if {"rates", "memory", "start"} & set(wanted):
        with _street(args, ledger) as (street, crowd):
            report |= _at_work(args, wanted, street, crowd)
    if "lookup" in wanted:
        with tempfile.TemporaryDirectory(prefix="shimmy-bench-") as folder:
            report["lookup"] = measure_lookup(Path(folder), ledger, args.customers, 50)
    parts = (report.get(name, {}) for name in PARTS)
    report["broken"] = [one for part in parts for one in part.pop("broken", ())]
    return report


@contextmanager
def _street(args: argparse.Namespace, ledger: str) -> Iterator[tuple[Street, Crowd]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shimmy-bench-")))
        street = stack.enter_context(open_street(folder, ledger))
        crowd = gather_crowd(street, args.buyers, random.Random(1))
        drain(street)
        yield street, crowd


def _at_work(
    args: argparse.Namespace, wanted: list[str], street: Street, crowd: Crowd
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    started = _starts(street, args.starts) if "start" in wanted else {}
    if "rates" in wanted:
        found["rates"] = _rates(args, street, crowd)
    if "memory" in wanted:
        found["memory"] = _memory(street, crowd, args.events)
    if "start" in wanted:
        held = street.ledger.read()
        again = _starts(street, args.starts)
        found["start"] = {"empty": started, "events": len(held.ids), "after": again}
    return found


def _rates(args: argparse.Namespace, street: Street, crowd: Crowd) -> dict[str, Any]:
    """Open loop: every request has its moment, whatever came of the ones before."""
    steps: list[dict[str, Any]] = []
    for rate in (float(one) for one in args.rates.split(",")):
        before = cpu_seconds(street)
        count = int(rate * args.step_seconds)
        hits = asyncio.run(shoot("127.0.0.1", street.port, rate, count, crowd.shot))
        used = {name: one - before[name] for name, one in cpu_seconds(street).items()}
        told = summarise([one for one in hits if one.shot.tag])
        pages = summarise([one for one in hits if not one.shot.tag])
        late = summarise([one for one in hits if one.late_ms > ALLOWED_MS])["count"]
        held = _holds(told) and _holds(pages)
        steps.append(
            {
                "rate": rate,
                "webhooks_a_second": round(told["count"] / args.step_seconds, 1),
                "webhooks": told,
                "pages": pages,
                "generator_late": late,
                "cpu_share": {k: round(v / args.step_seconds, 2) for k, v in used.items()},
                "drained_after_seconds": drain(street),
                "held": held,
            }
        )
        print(f"{rate:g}/s: {steps[-1]['webhooks']}", file=sys.stderr, flush=True)
        if not held:
            break
    best = [one for one in steps if one["held"]]
    return {
        "steps": steps,
        "held_requests_a_second": best[-1]["rate"] if best else 0,
        "held_webhooks_a_second": best[-1]["webhooks_a_second"] if best else 0,
    }


def _holds(told: dict[str, float | int]) -> bool:
    return told["p99_ms"] <= ALLOWED_MS and told["errors"] <= told["count"] * ALLOWED_ERRORS


def _memory(street: Street, crowd: Crowd, events: int) -> dict[str, Any]:
    """Closed loop: sixteen connections, each with the next webhook once the last is answered."""
    process, samples = psutil.Process(street.processes["store"]), list[tuple[int, float]]()
    samples.append((0, process.memory_info().rss / 1e6))
    began, errors, tenth = time.monotonic(), 0, max(1, events // 10)
    for done in range(tenth, events + 1, tenth):
        volley = Volley("127.0.0.1", street.port, 16)
        hits = asyncio.run(volley.fire([_webhook(crowd) for _ in range(tenth)]))
        errors += sum(not one.right for one in hits)
        samples.append((done, process.memory_info().rss / 1e6))
        print(f"{done} events: {samples[-1][1]:.1f} MB", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    drained = drain(street)
    samples.append((events, process.memory_info().rss / 1e6))
    late = [one for one in samples[:-1] if one[0] >= events * _WARM]
    slope = _slope(late)
    broken = ["memory grows"] if slope * 1e6 > ALLOWED_BYTES_AN_EVENT else []
    broken += ["memory: errors"] if errors > events * ALLOWED_ERRORS else []
    return {
        "events": events,
        "seconds": round(seconds, 1),
        "acknowledged_a_second": round(events / seconds, 1),
        "errors": errors,
        "drained_after_seconds": drained,
        "rss_mb": [[count, round(size, 1)] for count, size in samples],
        "bytes_an_event": round(slope * 1e6, 1),
        "broken": broken,
    }


def _webhook(crowd: Crowd) -> Shot:
    while True:
        shot = crowd.shot(0)
        if shot.tag:
            return shot


def _slope(samples: list[tuple[int, float]]) -> float:
    """Least squares, in units of the second a unit of the first."""
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


def _starts(street: Street, times: int) -> dict[str, Any]:
    """Seconds from the command to the first answer of ``/alive``, store after store."""
    seconds = sorted(restarted(street) for _ in range(times))
    return {"median_s": round(seconds[len(seconds) // 2], 3), "worst_s": round(seconds[-1], 3)}


def _keep(ledger: str, report: dict[str, Any]) -> None:
    """The latest figures of each part and kind of ledger stand side by side."""
    RESULTS.parent.mkdir(exist_ok=True)
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept[ledger] = {**kept.get(ledger, {}), **report}
    RESULTS.write_text(f"{json.dumps(kept, indent=2)}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
