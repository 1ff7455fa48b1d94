"""Many analyses in one process: memory, files and threads must stay flat.

Images of changing size, every mode, seeds and truncations, on a synthetic pair through the whole
real path. Prints one JSON line; exits 1 if resident memory grew by more than five per cent between
the end of the warm-up and the end of the run.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil
from PIL import Image, ImageDraw

from licensed import licensed
from shimmy_sandbox.synthetic_model import write_synthetic_pair
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    AnalysisRequest,
    AnswerLimits,
    StandardQuestion,
)
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import ignore_progress
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.settings import read_settings
from shimmy_vision.wiring.vision import open_vision

ALLOWED_GROWTH = 0.05
SIZES = ((64, 64), (200, 150), (449, 300), (640, 480), (900, 300))


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--analyses", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=0, help="default: one a core")
    parser.add_argument("--layout", choices=("2.6", "4.6"), default="4.6")
    args = parser.parse_args()
    images = [_png(*size) for size in SIZES]
    process, samples, started = psutil.Process(), [], time.perf_counter()
    warm_up = max(50, args.analyses // 5)
    with tempfile.TemporaryDirectory() as folder, licensed(folder, "startup") as licence:
        pair = write_synthetic_pair(Path(folder, "pair"), args.layout)
        settings = read_settings(
            {
                "SHIMMY_ALLOW_SYNTHETIC": "1",
                **licence,
                "SHIMMY_MODEL": f"{pair.main.parent}/",
            }
        )
        order = VisionOrder(None, args.threads, 0, 50_000_000, 30_000, _request(0))
        with open_vision(settings, order) as analyse:
            for number in range(warm_up + args.analyses):
                image = images[number % len(images)]
                analyse(image, _request(number), Cancellation(), ignore_progress)
                if number >= warm_up and number % 50 == 0:
                    gc.collect()
                    samples.append(process.memory_info().rss)
        threads, files = process.num_threads(), process.num_fds()
    growth = max(samples[-3:]) / max(samples[:3]) - 1
    report = {
        "layout": args.layout,
        "analyses": args.analyses,
        "seconds": round(time.perf_counter() - started, 1),
        "rss_mb_first": round(samples[0] / 1e6, 1),
        "rss_mb_last": round(samples[-1] / 1e6, 1),
        "growth": round(growth, 4),
        "threads": threads,
        "open_files": files,
    }
    print(json.dumps(report))
    return 0 if growth <= ALLOWED_GROWTH else 1


def _request(number: int) -> AnalysisRequest:
    question = StandardQuestion(MODES[number % len(MODES)])
    return AnalysisRequest(question, AnswerLimits(max_tokens=10 + number % 30, seed=number))


def _png(width: int, height: int) -> bytes:
    image = Image.new("RGB", (width, height), "#f5f7fa")
    ImageDraw.Draw(image).text((5, 5), f"{width} by {height}", fill="#1f2933")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
