"""A new screenshot to JSON on an NVIDIA GPU: 50th and 95th percentile, and how busy its memory was.

    bash scripts/gpu_bench.sh                    builds for CUDA, then runs this for both shapes

Needs llama-cpp-python built for CUDA in the environment that runs it; says so and measures nothing
where there is no GPU. A target: 1280x720, mode full, 300 tokens, 4.6 and 4.5 shapes, under 3 s at
the 95th percentile, aim 1 s. The share of memory bandwidth is of the language model's weights read
once for each forward pass while it writes, over what the device's data sheet promises.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from licensed import licensed
from make_model import default_folder, make_pair
from scale import screenshot
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, AnswerLimits
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import ignore_progress
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.settings import read_settings
from shimmy_vision.wiring.vision import Vision, open_vision

RESULTS = Path(__file__).resolve().parent / "results/gpu.json"
ALLOWED_P95, AIM_P95 = 3.0, 1.0
NOTHING_MEASURED = 2
# GB/s as their makers say; other devices want --bandwidth.
_BANDWIDTH = {
    "H200": 4800, "H100 80GB HBM3": 3350, "H100 PCIe": 2000, "H100 NVL": 3900,
    "A100-SXM4-80GB": 2039, "A100 80GB PCIe": 1935, "A100-SXM4-40GB": 1555, "L40S": 864,
    "L4": 300, "A10G": 600, "A10": 600, "T4": 320, "RTX 5090": 1792, "RTX 4090": 1008,
    "RTX 3090": 936,
}  # fmt: skip
_ASKED = ("name", "driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "clocks.max.mem",
          "utilization.gpu", "power.draw", "memory.used")  # fmt: skip


def main() -> int:
    """Measure, print, judge; exit code 2 where there is nothing to measure on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=("4.6", "4.5"), action="append", help="default: both")
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--bandwidth", type=float, help="of the device, in GB/s")
    parser.add_argument("--write", action="store_true", help=f"keep them in {RESULTS.name}")
    args = parser.parse_args()
    if shutil.which("nvidia-smi") is None or not (device := _look()):
        print("No NVIDIA GPU here (nvidia-smi finds none): nothing was measured.", file=sys.stderr)
        return NOTHING_MEASURED
    report: dict[str, Any] = {"device": device, "shapes": {}}
    for shape in args.shape or ("4.6", "4.5"):
        report["shapes"][shape] = _measure(shape, args, device)
        print(json.dumps({shape: report["shapes"][shape]}, indent=2), flush=True)
    if args.write:
        RESULTS.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    slow = [name for name, one in report["shapes"].items() if one["p95_s"] > ALLOWED_P95]
    for name in slow:
        print(f"broken: {name} takes over {ALLOWED_P95} s", file=sys.stderr)
    return 1 if slow else 0


def _measure(shape: str, args: argparse.Namespace, device: dict[str, str]) -> dict[str, Any]:
    place = make_pair(shape, default_folder())
    weights = max(path.stat().st_size for path in place.glob("*.gguf") if "mmproj" not in path.name)
    with _opened(place, args.tokens) as vision, _watched() as samples:
        times, metas = [], []
        # The first ones compile kernels.
        for number in range(args.runs + 3):
            image = screenshot(1280, 720)
            began = time.perf_counter()
            result = vision(image, _request(args.tokens), Cancellation(), ignore_progress)
            if number >= 3:
                times.append(time.perf_counter() - began)
                metas.append(result["meta"])
    on_gpu = metas[0]["backend"]["device"]
    stages = {
        name: round(statistics.median(one["timings"][name] for one in metas), 1)
        for name in metas[0]["timings"]
    }
    seconds = stages["generate_ms"] / 1000
    passes = statistics.median(one["tokens"]["forward_passes"] for one in metas)
    reached = weights * passes / seconds / 1e9 if seconds else 0.0
    promised = args.bandwidth or _promised(device["name"])
    return {
        "runs": args.runs,
        "answer_tokens": statistics.median(one["tokens"]["generated"] for one in metas),
        "forward_passes": passes,
        "on": on_gpu,
        "p50_s": round(statistics.median(times), 3),
        "p95_s": round(sorted(times)[-(-len(times) * 95 // 100) - 1], 3),
        "worst_s": round(max(times), 3),
        "aim_met": sorted(times)[-(-len(times) * 95 // 100) - 1] <= AIM_P95,
        "stages_median_ms": stages,
        "weights_gb": round(weights / 1e9, 2),
        "read_gb_a_second": round(reached, 1),
        "bandwidth_gb_a_second": promised,
        "bandwidth_share": round(reached / promised, 3) if promised else None,
        "while_busy": samples[:: max(1, len(samples) // 5)],
    }


@contextmanager
def _opened(place: Path, tokens: int) -> Iterator[Vision]:
    with tempfile.TemporaryDirectory() as folder, licensed(folder) as licence:
        variables = {**licence, "SHIMMY_ALLOW_SYNTHETIC": "1", "SHIMMY_MODEL": f"{place}/"}
        # libmtmd encodes on GPUs, whatever the machine's own processor could do.
        settings = read_settings({**variables, "SHIMMY_ENCODER": "mtmd"})
        order = VisionOrder(None, 0, -1, 50_000_000, 30_000, _request(tokens))
        with open_vision(settings, order) as vision:
            yield vision


@contextmanager
def _watched() -> Iterator[list[dict[str, str]]]:
    """Clocks and load of the device, twice a second, while it works."""
    samples, ended = list[dict[str, str]](), threading.Event()

    def watch() -> None:
        while not ended.wait(0.5):
            samples.append(_look())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield samples
    finally:
        ended.set()
        watcher.join()


def _look() -> dict[str, str]:
    words = ("nvidia-smi", f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader", "--id=0")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    told = [one.strip() for one in done.stdout.strip().split(",")]
    return dict(zip(_ASKED, told, strict=True)) if len(told) == len(_ASKED) else {}


def _promised(device: str) -> float | None:
    """The longest name of ours that is part of the device's."""
    known = [name for name in _BANDWIDTH if name in device]
    return float(_BANDWIDTH[max(known, key=len)]) if known else None


def _request(tokens: int) -> AnalysisRequest:
    return AnalysisRequest(limits=AnswerLimits(max_tokens=tokens))


if __name__ == "__main__":
    sys.exit(main())
