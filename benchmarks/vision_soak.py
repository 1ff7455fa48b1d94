"""Half an hour of mixed work for ``shimmy serve``: both its processes must stay flat.

The server, with its engine's process, runs as users start it, against a sandbox licence server and
with a tiny synthetic pair on one thread. Visitors ask in every way there is: new images in every
mode, repeated ones, PDFs, chats, streams, jobs, batches, WebSockets, broken images, requests that
are given up; and at a steady rate come questions that the API answers by itself. Prints one JSON
report. Exit code 1: a process grew (see ``flatness.py``), the engine began again, 99 of 100 answers
that need no model took longer than 500 ms, or one of 1000 requests was answered wrongly.

What a model writes takes a model's time: told, not judged. The caches hold 16 MB, so that they are
full when judging begins, after the first fifth.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from flatness import Sample, describe, sample, warmed_up
from licensed import licensed
from open_loop import percentile, shoot
from promises import ALLOWED_ERRORS, ALLOWED_MS
from shimmy_sandbox.synthetic_model import write_synthetic_pair
from soak_report import end_with_ctrl_c, judge_answers, keep, tell
from store_latency import describe_machine
from vision_visits import API_SHOTS, Kind, Tally, Visits

_SLICE_SECONDS = 10.0
_START_SECONDS, _END_SECONDS = 120, 60
_TOTALS = ("count", "errors")


@dataclass(slots=True)
class Seen:
    """What is measured while it runs."""

    tally: Tally = field(default_factory=Tally)
    samples: dict[str, list[Sample]] = field(default_factory=lambda: {"server": [], "engine": []})
    late_ms: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Served:
    """A server that runs. ``processes``: ids by name."""

    url: str
    processes: Mapping[str, int]


def main() -> int:
    """Run, print, judge; Ctrl-C ends it early and judges what there is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=float, default=10, help="API questions a second")
    parser.add_argument("--visitors", type=int, default=3, help="who want the model to work")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between one's visits")
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--layout", choices=("2.6", "4.6"), default="4.6")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the report there as well")
    args = parser.parse_args()
    end_with_ctrl_c()
    with tempfile.TemporaryDirectory(prefix="shimmy-soak-") as name:
        folder = Path(name)
        with licensed(name) as licence, serving(licence, folder, args.layout) as served:
            report = soak(served, args)
    keep(report, args.out)
    return 1 if report["broken"] else 0


def soak(served: Served, args: argparse.Namespace) -> dict[str, Any]:
    """Everything that was seen, and which promises it broke."""
    seen, began = Seen(), time.monotonic()
    try:
        asyncio.run(_live(served, args, seen, began))
    except KeyboardInterrupt:
        print("stopped early", file=sys.stderr)
    seconds = round(time.monotonic() - began, 1)
    processes = {name: describe(warmed_up(taken)) for name, taken in seen.samples.items()}
    broken = [f"{name}: {one}" for name, it in processes.items() for one in it["broken"]]
    counted = _counted_by(served)
    broken += engine_troubles(counted)
    answers = {kind: _figures(seen.tally, kind) for kind in ("api", "vision")}
    count, errors = (sum(int(it["all"][one]) for it in answers.values()) for one in _TOTALS)
    broken += judge_answers(count, errors, answers["api"]["all"]["p99_ms"])
    return {
        "machine": describe_machine(),
        "seconds": seconds,
        "layout": args.layout,
        "requests": count,
        "errors": errors,
        "error_rate": round(errors / max(count, 1), 6),
        "p50_ms": answers["api"]["all"]["p50_ms"],
        "p99_ms": answers["api"]["all"]["p99_ms"],
        "promises": {"p99_ms": ALLOWED_MS, "error_rate": ALLOWED_ERRORS},
        "generator_late_p99_ms": percentile(sorted(seen.late_ms) or [0.0], 99),
        "processes": processes,
        "caches_mb": {
            name: round(counted.get(f"shimmy_{name}_cache_bytes", 0.0) / 1e6, 1)
            for name in ("image", "state", "result")
        },
        "answers": answers,
        "wrong": seen.tally.wrong,
        "broken": broken,
    }


async def _live(served: Served, args: argparse.Namespace, seen: Seen, began: float) -> None:
    end = began + args.minutes * 60
    chance = random.Random(args.seed)
    visits = Visits(served.url, seen.tally, chance, args.max_tokens)
    await visits.each()

    async def visit() -> None:
        while time.monotonic() < end:
            await visits.one()
            await asyncio.sleep(chance.expovariate(1 / args.pause))

    async with asyncio.TaskGroup() as group:
        for _ in range(args.visitors):
            group.create_task(visit())
        group.create_task(_watch(served, seen, began, args.minutes * 60))
        group.create_task(_ask_api(served, seen, end, args.rate))
    await visits.close()


async def _ask_api(served: Served, seen: Seen, end: float, rate: float) -> None:
    port = int(served.url.rpartition(":")[2])
    while (left := end - time.monotonic()) > 0:
        count = max(int(rate * min(_SLICE_SECONDS, left)), 1)
        hits = await shoot("127.0.0.1", port, rate, count, lambda n: API_SHOTS[n % len(API_SHOTS)])
        seen.late_ms += [one.late_ms for one in hits]
        for hit in hits:
            seen.tally.note_hit(hit)


async def _watch(served: Served, seen: Seen, began: float, seconds: float) -> None:
    pause = min(_SLICE_SECONDS, seconds / 20)
    while (spent := time.monotonic() - began) < seconds:
        try:
            for name, pid in served.processes.items():
                seen.samples[name].append(await asyncio.to_thread(sample, pid, spent))
        except psutil.NoSuchProcess:
            return  # told by what the server says of its engine
        told = ", ".join(f"{k} {v[-1].rss / 1e6:.0f} MB" for k, v in seen.samples.items())
        asked = sum(map(len, seen.tally.times.values()))
        errors = sum(seen.tally.errors.values())
        tell(spent, seconds, f"{told}, {asked} answers, {errors} wrong")
        await asyncio.sleep(min(pause, max(seconds - spent, 0)))


def _figures(tally: Tally, kind: Kind) -> dict[str, dict[str, float | int]]:
    """By name, and of all together."""
    rows = {name: times for (k, name), times in sorted(tally.times.items()) if k == kind}
    errors = {name: tally.errors[kind, name] for name in rows}
    everything = [one for times in rows.values() for one in times]
    return {
        "all": _row(everything, sum(errors.values())),
        **{name: _row(times, errors[name]) for name, times in rows.items()},
    }


def _row(times: Sequence[float], errors: int) -> dict[str, float | int]:
    ordered = sorted(times) or [0.0]
    percentiles = {f"p{one}_ms": percentile(ordered, one) for one in (50, 95, 99)}
    return {"count": len(times), "errors": errors, **percentiles, "max_ms": round(ordered[-1], 1)}


def _counted_by(served: Served) -> dict[str, float]:
    """What the server counted, by metric; empty where it is gone."""
    try:
        text = httpx.get(f"{served.url}/metrics", timeout=20, trust_env=False).text
    except httpx.HTTPError:
        return {}
    found = re.findall(r"^(shimmy_\w+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def engine_troubles(counted: Mapping[str, float]) -> list[str]:
    """The engine's process begins once, and is never lost; ``counted`` by metric."""
    allowed = {"starts": 1.0, "crashes": 0.0, "kills": 0.0}
    seen = {name: counted.get(f"shimmy_engine_{name}_total") for name in allowed}
    return [f"engine {name}: {seen[name]}" for name in allowed if seen[name] != allowed[name]]


@contextmanager
def serving(licence: Mapping[str, str], folder: Path, layout: str) -> Iterator[Served]:
    """``shimmy serve`` with its model loaded, on a free port."""
    pair = write_synthetic_pair(folder / "pair", layout)  # type: ignore[arg-type] # argparse chose
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHIMMY_")}
    variables = {
        **licence,
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_MODEL": f"{pair.main.parent}/",
        "OMP_WAIT_POLICY": "passive",
    }
    shimmy = Path(sys.executable).with_name("shimmy")
    options = ("--port", "0", "--preload", "--no-socket", "--threads", "1", "--cache-mb", "16")
    log = folder / "serve.log"
    with log.open("wb") as errors:
        # Of a session of its own: Ctrl-C is for who measures; the server is looked at after it.
        process = subprocess.Popen(
            [shimmy, "serve", *options],
            stderr=errors,
            env={**kept, **variables},
            start_new_session=True,
        )
    try:
        url = _loaded(process, log)
        yield Served(url, {"server": process.pid, "engine": _engine(process.pid)})
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _loaded(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"^shimmy: (http://\S+)", log.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            ready = httpx.get(f"{found[1]}/ready", timeout=60, trust_env=False)
            if ready.json()["model_loaded"]:
                return found[1]
        time.sleep(0.05)
    raise RuntimeError(f"shimmy serve did not start:\n{log.read_text(encoding='utf-8')}")


def _engine(server: int) -> int:
    (found,) = (
        one.pid
        for one in psutil.Process(server).children()
        if "engine-worker" in " ".join(one.cmdline())
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
