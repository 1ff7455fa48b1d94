"""What ``shimmy serve`` holds in memory when it is idle after loading, over the weights themselves.

    python benchmarks/memory.py                       the full-shape 4.6 pair, made where missing
    python benchmarks/memory.py --pair DIR --requests 4     genuine files; four images at once first

The measure: the proportional set size (PSS: what is shared with others counts by its share) of all
processes of ``shimmy serve --preload``, with what it usually allows, less the bytes of both model
files. It is read from ``/proc/PID/smaps`` when the model is loaded and warm and nothing is asked.
``over_weights`` may not have been lowered by weights that are not in memory: pages of the main
file, the projector and the compiled projector that are resident stand beside it, and so do all
bytes of no file, which contain matrices that were packed anew. Linux only; about a minute.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from licensed import licensed
from make_model import default_folder, make_pair
from server_speed import Ours, picture, server

RESULT = Path(__file__).parent / "results/memory.json"
TARGET_MB = 250
# An engine that nobody asks gives back what it does not need after two seconds.
_IDLE_SECONDS = 5.0
_SETTLE_SECONDS = 300.0
_NOTHING = 0.2  # processor seconds: timers and heartbeats
_HEADER = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S{4} \S+ \S+ \d+ *(.*)$")


def main() -> int:
    """Measure, print, write the result; 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", type=Path, help="a folder with a main file and its projector")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--requests", type=int, default=0, help="analyses at once, before that")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    pair = args.pair or make_pair("4.6", default_folder())
    weights = sum(path.stat().st_size for path in pair.glob("*.gguf"))
    with tempfile.TemporaryDirectory() as folder, licensed(folder) as licence:
        variables = {**licence, "SHIMMY_ALLOW_SYNTHETIC": "1", "SHIMMY_MODEL": f"{pair}/"}
        with server(variables, args.threads, max_tokens=None) as url:
            _settle()
            report = {"loaded": _report(weights)}
            if args.requests:
                with ThreadPoolExecutor(args.requests) as threads:
                    ours = Ours(url, 64)
                    list(threads.map(lambda _: ours.ask(picture(), "full"), range(args.requests)))
                _settle()
                report[f"after {args.requests} requests at once"] = _report(weights)
    result = {"pair": pair.name, "target_mb": TARGET_MB, "threads": args.threads, **report}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0 if report["loaded"]["over_weights_mb"] <= TARGET_MB else 1


def _settle() -> None:
    """Wait until nothing has been computed for some seconds. Raises TimeoutError."""
    end = time.monotonic() + _SETTLE_SECONDS
    quiet, spent = time.monotonic(), _spent()
    while time.monotonic() < quiet + _IDLE_SECONDS:
        if time.monotonic() > end:
            raise TimeoutError("the server does not come to rest")
        time.sleep(0.25)
        if _spent() > spent + _NOTHING:
            quiet, spent = time.monotonic(), _spent()


def _spent() -> float:
    """Processor seconds of the server and all that it started."""
    times = (process.cpu_times() for process in _processes())
    return sum(one.user + one.system for one in times)


def _report(weights: int) -> dict[str, Any]:
    """Megabytes (of 1,000,000 bytes), by what they are."""
    kinds: Counter[str] = Counter()
    processes = {}
    for process in _processes():
        own = _by_kind(process.pid)
        kinds.update(own)
        processes[_name(process)] = round(sum(own.values()) / 1e6)
    total = sum(kinds.values())
    return {
        "pss_mb": round(total / 1e6),
        "weights_mb": round(weights / 1e6),
        "over_weights_mb": round((total - weights) / 1e6),
        "of_no_file_mb": round(kinds["of no file"] / 1e6),
        "kinds_mb": {name: round(size / 1e6) for name, size in kinds.most_common()},
        "processes_mb": processes,
    }


def _processes() -> Iterator[psutil.Process]:
    """The server and all that it started."""
    yield from psutil.Process().children(recursive=True)


def _name(process: psutil.Process) -> str:
    words = process.cmdline()
    return f"{' '.join(words[2:4]) or process.name()} ({process.pid})"


def _by_kind(pid: int) -> Counter[str]:
    """Bytes of PSS of one process, by what is mapped there."""
    kinds: Counter[str] = Counter()
    kind = ""
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        header = _HEADER.match(line)
        if header:
            kind = _kind(header[1])
        elif line.startswith("Pss:"):
            kinds[kind] += int(line.split()[1]) * 1024
    return kinds


def _kind(name: str) -> str:
    if name.startswith("[") or not name:
        return "of no file"
    if name.endswith(".gguf"):
        return "projector file" if "mmproj" in name else "main file"
    return "compiled projector" if name.endswith(".blob") else "programs and libraries"


if __name__ == "__main__":
    sys.exit(main())
