"""Tries inputs that nobody meant on everything that reads what strangers send.

    fuzz.py --seconds N [--target NAME] [--seed S] [--out FOLDER]
    fuzz.py --target NAME --replay FILE
    fuzz.py --target NAME --seconds N --guided

``--seconds`` are for all targets together. Each target runs in a process of its own, which is
ended when one input takes too long; an input is a finding if it ends in anything but a value or an
error of ours, takes longer than the target's bound, or more memory. Findings are kept in
``artifacts/fuzz``; exit code 1 if there is one. The same seed tries the same inputs, as far as the
time goes; without one a new seed is chosen and told. ``--guided`` is libFuzzer, led by which lines
are reached, where atheris is installed (``pip install atheris``; it is in no lock): it ends at the
first finding. docs/security.md records what was found.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fuzz_targets import ROOT, TARGETS, Target, seeds

_POOL, _LONGEST_KEPT = 400, 8192
_START_SECONDS = 60
# Above the target's own bound: the address space of native libraries is larger than what they use.
_ROOM_MIB = 6 * 1024
_MIB = 1 << 20


@dataclass(frozen=True)
class Finding:
    """What one input did."""

    kind: str
    said: str
    data: bytes


def inputs(name: str, target: Target, chance: random.Random) -> Iterator[tuple[bytes, list[bytes]]]:
    """The seeds as they are, then what becomes of them; who appends to the pool, steers it."""
    pool = seeds(name)
    for one in list(pool):
        yield one, pool
    while True:
        start = chance.choice(pool)
        yield target.mutate(chance, start, pool, target.words), pool


def _memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def work(name: str, seed: int, seconds: float, folder: Path) -> int:
    """In a process of its own: try inputs, tell of findings in ``folder``."""
    limit = _ROOM_MIB * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target, tried = TARGETS[name], 0
    chance = random.Random(f"{name} {seed}")  # noqa: S311 - it chooses inputs, no secrets
    current, seen = folder / "current", set[str]()
    target.run(seeds(name)[0])
    began, before = time.monotonic(), _memory()
    for data, pool in inputs(name, target, chance):
        if time.monotonic() - began > seconds:
            break
        current.write_bytes(data)
        start = time.monotonic()
        problem = _try(target, data, seen, pool)
        took, now = time.monotonic() - start, _memory()
        if problem is None and took > target.seconds:
            problem = ("slow", f"{took:.1f} s")
        if problem is None and now - before > target.mib * _MIB:
            problem = ("memory", f"{(now - before) // _MIB} MiB more than before")
        before = max(before, now) if problem and problem[0] == "memory" else before
        tried += 1
        if problem is not None:
            _keep(folder, *problem, data)
        if tried % 50 == 0:
            (folder / "tried").write_text(f"{tried} {len(seen)}")
    (folder / "tried").write_text(f"{tried} {len(seen)}")
    return 0


def _try(target: Target, data: bytes, seen: set[str], pool: list[bytes]) -> tuple[str, str] | None:
    try:
        word = target.run(data)
    except BaseException as error:  # Whatever it is, it is what is looked for.
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        return "raised", f"{type(error).__name__} at {Path(place.filename).name}:{place.name}"
    if word not in seen:
        # What fares differently is worth going on from.
        seen.add(word)
        if len(pool) < _POOL and len(data) <= _LONGEST_KEPT:
            pool.append(data)
    return None


def _keep(folder: Path, kind: str, said: str, data: bytes) -> None:
    name = hashlib.sha256(f"{kind} {said}".encode()).hexdigest()[:16]
    if not (folder / f"{name}.json").exists():
        (folder / f"{name}.bin").write_bytes(data)
        (folder / f"{name}.json").write_text(json.dumps({"kind": kind, "said": said}))


def watch(name: str, seed: int, seconds: float) -> tuple[int, int, list[Finding]]:
    """Inputs tried, outcomes seen, findings."""
    target, tried, outcomes, found = TARGETS[name], 0, 0, dict[str, Finding]()
    end, number = time.monotonic() + seconds, 0
    while (left := end - time.monotonic()) > 0.5:
        with tempfile.TemporaryDirectory(prefix="shimmy-fuzz-") as place:
            folder = Path(place)
            ended = _run(name, seed + number, left, folder, target)
            counts = (folder / "tried").read_text().split() if (folder / "tried").exists() else []
            tried += int(counts[0]) if counts else 0
            outcomes = max(outcomes, int(counts[1]) if counts else 0)
            for one in folder.glob("*.json"):
                told = json.loads(one.read_text())
                finding = Finding(told["kind"], told["said"], one.with_suffix(".bin").read_bytes())
                found.setdefault(finding.said, finding)
            if ended:
                data = (folder / "current").read_bytes() if (folder / "current").exists() else b""
                found.setdefault(ended, Finding("ended", ended, data))
        number += 1
    return tried, outcomes, list(found.values())


def _run(name: str, seed: int, seconds: float, folder: Path, target: Target) -> str:
    """Empty when the worker came to its end; else how it did not."""
    command = [sys.executable, str(Path(__file__)), "--target", name, "--seed", str(seed)]
    command += ["--seconds", str(seconds), "--work", str(folder)]
    # What it leaves behind when it is ended goes with the folder.
    places = {**os.environ, "TMPDIR": str(folder)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=places)
    begun, current = time.monotonic(), folder / "current"
    while process.poll() is None:
        time.sleep(0.2)
        since = current.stat().st_mtime if current.exists() else None
        idle = time.time() - since if since else 0.0
        late = time.monotonic() - begun > _START_SECONDS and since is None
        if late or idle > 2 * target.seconds:
            process.kill()
            process.wait()
            return f"no end after {2 * target.seconds:.0f} s" if since else "did not start"
    if process.returncode == 0:
        return ""
    last = (folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
    return f"ended with {process.returncode} {' '.join(last)[:200]}"


def guide(name: str, seconds: float, out: Path) -> int:
    """Led by coverage, in this process; it does not come back."""
    atheris: Any = importlib.import_module("atheris")
    target, place = TARGETS[name], out / name
    place.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports():
        target.run(seeds(name)[0])
    with tempfile.TemporaryDirectory(prefix="shimmy-fuzz-") as corpus:
        for number, one in enumerate(seeds(name)):
            Path(corpus, str(number)).write_bytes(one)
        said = (f"-max_total_time={seconds:.0f}", f"-timeout={target.seconds:.0f}")
        kept = (f"-artifact_prefix={place}/", f"-rss_limit_mb={_ROOM_MIB}", corpus)
        atheris.Setup([sys.argv[0], *said, *kept], lambda data: target.run(data) and None)
        atheris.Fuzz()
    return 0


def _leave(code: int) -> NoReturn:
    """At once: targets that are servers have threads that would go on."""
    sys.stdout.flush()
    os._exit(code)


def main() -> int:
    """See the module."""
    asked = _arguments()
    if asked.work is not None:
        _leave(work(asked.target, asked.seed, asked.seconds, asked.work))
    if asked.replay is not None:
        print(TARGETS[asked.target].run(asked.replay.read_bytes()))
        _leave(0)
    if asked.guided:
        return guide(asked.target, asked.seconds, asked.out)
    names = [asked.target] if asked.target else list(TARGETS)
    seed = time.time_ns() % (1 << 32) if asked.seed is None else asked.seed
    print(f"seed {seed}, {asked.seconds / len(names):.0f} s a target", flush=True)
    worst = 0
    for name in names:
        tried, outcomes, findings = watch(name, seed, asked.seconds / len(names))
        print(f"{name:16} {tried:9,} inputs  {outcomes:4} outcomes  {len(findings)} findings")
        for one in findings:
            place = asked.out / name
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"{hashlib.sha256(one.data).hexdigest()[:16]}.bin"
            path.write_bytes(one.data)
            print(f"  {one.kind}: {one.said}; {path}")
            worst = 1
        sys.stdout.flush()
    return worst


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument("--target", choices=TARGETS, help="only this one")
    parser.add_argument("--seed", type=int, help="try the same again")
    parser.add_argument("--out", type=Path, default=ROOT / "artifacts/fuzz")
    parser.add_argument("--replay", type=Path, help="one input, without a process of its own")
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.target is None and (asked.guided or asked.replay is not None):
        parser.error("--replay and --guided need --target")
    return asked


if __name__ == "__main__":
    raise SystemExit(main())
