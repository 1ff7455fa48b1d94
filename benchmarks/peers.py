"""``shimmy`` beside what a user would pick instead: one machine, one pair, ratios of medians.

    python benchmarks/peers.py                        all cases of the full-shape 4.6-like pair
    python benchmarks/peers.py --shape 2.6            the 8B-like pair
    python benchmarks/peers.py --case one-image       some cases; the others' results are kept
    python benchmarks/peers.py --quick --out FILE     a tiny pair, once: only that it runs

Peers are llama-cpp-python's multimodal chat handler with its own JSON grammar (built natively, as
the product's library is) and the server of xllamacpp's wheel with `response_format: json_schema`
(installed into the user's cache from requirements/bench.lock). Greedy decoding, the same files,
pictures, questions, schemas, threads and bound of tokens; random weights fill every answer up to
that bound. The result goes to benchmarks/results/peers.json, a case at a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from bench_environment import bench_python, locked_version
from licensed import licensed
from make_model import default_folder, make_pair, pair_files
from peer_arena import PEERS, Arena, Order, say
from peer_cases import crowd, one_image, paper
from peer_contestants import CONTEXT, SLOTS, Pair
from peer_start import cold, command, encoder, memory, passes
from shimmy_sandbox.synthetic_model import write_synthetic_pair

RESULT = Path(__file__).resolve().parent / "results/peers.json"
Case: TypeAlias = Callable[[Arena, Mapping[str, Any]], dict[str, Any]]

CASES: dict[str, Case] = {
    "memory": memory,
    "cold": cold,
    "command": command,
    "one-image": one_image,
    "crowd": crowd,
    "document": paper,
    "passes": passes,
    "encoder": encoder,
}


def main() -> int:
    """Measure case after case, write each as it is done, print the table."""
    args = _parse()
    order = _order(args)
    # So that a run that is ended ends its contestants.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if "xllamacpp" in order.peers:
        bench_python()
    with tempfile.TemporaryDirectory() as folder:
        pair = _pair(args, Path(folder, "pair"))
        result = _begun(args.out, pair)
        with _arena(pair, order, folder, quick=args.quick) as arena:
            _measure(arena, args, result)
    _print(result["shapes"][args.shape])
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=("4.6", "2.6"), default="4.6")
    parser.add_argument("--case", choices=CASES, action="append", help="default: all")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--repeat", type=int, default=3, help="of cases of seconds; 1/3 of others")
    parser.add_argument("--max-tokens", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", default="1280x720", help="of screenshots")
    parser.add_argument("--pages", type=int, default=8, help="of the document")
    parser.add_argument("--crowd", type=int, default=4, help="screenshots at once")
    parser.add_argument("--all-peers", action="store_true", help="the slower one everywhere, too")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    return parser.parse_args()


def _order(args: argparse.Namespace) -> Order:
    peers = tuple(args.peers)
    if args.quick:
        little = Order(args.threads, 1, 16, peers, size=(200, 150), pages=1, crowd=2)
        return replace(little, encoder_repeat=1, all_peers=True)
    full = Order(args.threads, args.repeat, args.max_tokens, peers, all_peers=args.all_peers)
    width, height = (int(side) for side in args.size.split("x"))
    few = replace(full, size=(width, height), pages=args.pages, crowd=args.crowd)
    return replace(few, encoder_repeat=args.repeat + 2)


def _pair(args: argparse.Namespace, folder: Path) -> Pair:
    if args.quick:
        tiny = write_synthetic_pair(folder, args.shape)
        return Pair(args.shape, tiny.main, tiny.projector)
    place = make_pair(args.shape, default_folder())
    main, projector = pair_files(place)
    return Pair(args.shape, main, projector)


@contextmanager
def _arena(pair: Pair, order: Order, folder: str, *, quick: bool) -> Iterator[Arena]:
    cache = Path(folder, "cache") if quick else default_folder() / "cache"
    # The machine is probed anew: it may have been busy the last time.
    for name in ("machine.json", "int8.json"):
        (cache / "encoders" / name).unlink(missing_ok=True)
    with licensed(folder) as licence:
        variables = {
            **licence,
            "SHIMMY_ALLOW_SYNTHETIC": "1",
            "SHIMMY_MODEL": f"{pair.main.parent}/",
            "SHIMMY_CACHE_DIR": str(cache),
        }
        with Arena(pair, variables, order) as arena:
            yield arena


def _measure(arena: Arena, args: argparse.Namespace, result: dict[str, Any]) -> None:
    shape = result["shapes"][args.shape]
    for name in args.case or CASES:
        say(f"== {name}")
        began, load = time.monotonic(), _load()
        told = CASES[name](arena, shape["cases"])
        how = {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "revision": _revision(),
            "machine": _machine(),
            "load_average": [load, _load()],
            "took_s": round(time.monotonic() - began),
            "order": asdict(arena.order),
        }
        for case, figures in told.items():
            shape["cases"][case] = {**figures, "measured": how}
        args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _begun(out: Path, pair: Pair) -> dict[str, Any]:
    """What was measured before, to go on with; other files' results are dropped."""
    result: dict[str, Any] = {"shapes": {}}
    with suppress(OSError, ValueError):
        result = json.loads(out.read_text(encoding="utf-8"))
    files = {path.name: _described(path) for path in (pair.main, pair.projector)}
    kept = result["shapes"].get(pair.family, {})
    cases = kept["cases"] if kept.get("files") == files else {}
    result["shapes"][pair.family] = {"files": files, "cases": cases}
    result["versions"] = {
        "llama-cpp-python": version("llama-cpp-python"),
        "xllamacpp": locked_version("xllamacpp"),
        "openvino": version("openvino"),
        "llguidance": version("llguidance"),
        "shimmy-vision": version("shimmy-vision"),
        "python": platform.python_version(),
    }
    result["peers"] = {"context": CONTEXT, "slots": SLOTS}
    return result


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_mb": round(memory_mb),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _load() -> list[float]:
    return [round(value, 1) for value in os.getloadavg()]


def _revision() -> str:
    asked = ["git", "-C", str(RESULT.parent), "describe", "--always", "--dirty"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _print(shape: Mapping[str, Any]) -> None:
    print(f"{'case':<22}{'target':>10}{'measured':>10}  {'':<7}{'best peer':<18}same length")
    for name, case in shape["cases"].items():
        found = case.get("ratio", case.get("value"))
        met = "" if "met" not in case else ("met" if case["met"] else "missed")
        same = case.get("ratio_same_length", "")
        best = case.get("best_peer", "")
        print(f"{name:<22}{case['target']:>10}{found!s:>10}  {met:<7}{best:<18}{same}")


if __name__ == "__main__":
    sys.exit(main())
