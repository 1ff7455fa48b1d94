"""A thousand analyses in one process: memory, files and threads must stay flat.

Images of changing size, every mode, seeds and truncations, on a synthetic pair through the whole
real path. Prints one JSON line; exits 1 if memory, files or threads grew after the warm-up: see
``flatness.py`` for the bounds.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image, ImageDraw

from flatness import ALLOWED_GROWTH, Sample, growth, not_flat, sample
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

SIZES = ((64, 64), (200, 150), (449, 300), (640, 480), (900, 300))


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--analyses", type=int, default=1000)
    parser.add_argument("--threads", type=int, default=0, help="default: one a core")
    parser.add_argument("--layout", choices=("2.6", "4.6"), default="4.6")
    args = parser.parse_args()
    images = [_png(*size) for size in SIZES]
    samples, started = list[Sample](), time.perf_counter()
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
                    samples.append(sample(os.getpid(), time.perf_counter() - started))
    grew = not_flat(samples)
    report = {
        "layout": args.layout,
        "analyses": args.analyses,
        "seconds": round(time.perf_counter() - started, 1),
        "rss_mb_first": round(samples[0].rss / 1e6, 1),
        "rss_mb_last": round(samples[-1].rss / 1e6, 1),
        "growth": growth(samples),
        "allowed_growth": ALLOWED_GROWTH,
        "threads": samples[-1].threads,
        "open_files": samples[-1].files,
        "broken": grew,
    }
    print(json.dumps(report))
    return 1 if grew else 0


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
