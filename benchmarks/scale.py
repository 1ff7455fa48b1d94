"""How ``shimmy`` grows: with concurrency, with the size of images, with their number.

Parts, and what each takes on two quiet cores with the tiny pair:

  concurrency   new 1280x720 screenshots, ``--rounds`` times as many as are asked at once, 1 to 16
                at once: images a second (three minutes)
  sizes         one new screenshot of 0.2 to 33 megapixels, alone: seconds and stages (two minutes)
  images        ``--images`` 6000 files through ``shimmy vision --output jsonl`` in one process:
                resident memory against files done (ten minutes)

Each law is ``y = factor * x ** exponent`` with its residuals. The tiny pair has random weights and
few of them: laws of the encoder's share want ``--shape 4.6`` (the full-shape pair of
make_model.py; an hour). Exit code 1: an analysis failed, or memory grows by more than
``ALLOWED_BYTES`` an image after the first 1,200 (fewer images judge nothing).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import psutil
from PIL import Image, ImageDraw

from growth_law import fit_law, slope
from licensed import licensed
from make_model import default_folder, make_pair
from shimmy_sandbox.synthetic_model import write_synthetic_pair
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, AnswerLimits
from shimmy_vision.ports.analyst import Analyst, ImageJob, JobEvent
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.settings import read_settings
from shimmy_vision.wiring.serving import open_analyst
from store_latency import describe_machine

RESULTS = Path(__file__).resolve().parent / "results/scale.json"
PARTS = ("concurrency", "sizes", "images")
AT_ONCE = (1, 2, 4, 8, 16)
MEGAPIXELS = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 33.0)
# Six thousand images may leave six megabytes behind; a leak of one image's pixels is 2.7 MB.
ALLOWED_BYTES = 1000
# Until then the slices that a run keeps (32 MB at most, some 70 kB of each image here) fill up.
# Resident memory goes up and down by 8 MB from look to look: over fewer images than some thousands
# a slope tells nothing.
_WARM_IMAGES = 1200
_NUMBERS = count()


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="default: all")
    parser.add_argument("--shape", choices=("tiny", "4.6", "2.6"), default="tiny")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="of each size; the median counts")
    parser.add_argument("--max-tokens", type=int, default=40)
    parser.add_argument("--largest", type=float, default=MEGAPIXELS[-1], help="megapixels")
    parser.add_argument("--threads", type=int, default=0, help="default: one a core")
    parser.add_argument("--write", action="store_true", help=f"keep them in {RESULTS.name}")
    args = parser.parse_args()
    report: dict[str, Any] = {"machine": describe_machine(), "max_tokens": args.max_tokens}
    with tempfile.TemporaryDirectory(prefix="shimmy-bench-") as folder, licensed(folder) as licence:
        variables = {**licence, "SHIMMY_ALLOW_SYNTHETIC": "1", **_model(args.shape, Path(folder))}
        for name in args.parts.split(","):
            report[name] = _MEASURES[name](args, variables, Path(folder))
            print(json.dumps({name: report[name]}, indent=2), flush=True)
    if args.write:
        _keep(args.shape, report)
    broken = [one for name in PARTS for one in report.get(name, {}).get("broken", ())]
    for one in broken:
        print(f"broken: {one}", file=sys.stderr)
    return 1 if broken else 0


def _model(shape: str, folder: Path) -> dict[str, str]:
    if shape == "tiny":
        place = write_synthetic_pair(folder / "pair", "4.6").main.parent
    else:
        place = make_pair(shape, default_folder())
    return {"SHIMMY_MODEL": f"{place}/"}


def concurrency(
    args: argparse.Namespace, variables: Mapping[str, str], _folder: Path
) -> dict[str, Any]:
    """Images a second with so many asked at once; the engine answers as many together."""
    rows = []
    for wide in AT_ONCE:
        with _engine(args, variables, wide) as analyst:
            _ask(analyst, screenshot(1280, 720), args.max_tokens)
            images = [screenshot(1280, 720) for _ in range(wide * args.rounds)]
            began = time.perf_counter()
            with ThreadPoolExecutor(wide) as threads:
                times = list(threads.map(lambda one: _timed(analyst, one, args), images))
            seconds = time.perf_counter() - began
        rows.append(
            {
                "at_once": wide,
                "images": len(images),
                "images_a_second": round(len(images) / seconds, 3),
                "median_s": round(sorted(times)[len(times) // 2], 3),
                "worst_s": round(max(times), 3),
            }
        )
        print(f"{wide} at once: {rows[-1]}", file=sys.stderr, flush=True)
    return {
        "rows": rows,
        "throughput_law": fit_law([(r["at_once"], r["images_a_second"]) for r in rows]).told(),
        "latency_law": fit_law([(r["at_once"], r["median_s"]) for r in rows]).told(),
    }


def sizes(args: argparse.Namespace, variables: Mapping[str, str], _folder: Path) -> dict[str, Any]:
    """Seconds of one image alone, and of which stage, by megapixels."""
    rows = []
    with _engine(args, variables, 1) as analyst:
        _ask(analyst, screenshot(640, 360), args.max_tokens)
        for pixels in (one for one in MEGAPIXELS if one <= args.largest):
            height = round((pixels * 1e6 * 9 / 16) ** 0.5)
            results = []
            for _ in range(args.repeat):
                image = screenshot(round(height * 16 / 9), height)
                began = time.perf_counter()
                result = _ask(analyst, image, args.max_tokens)
                results.append((time.perf_counter() - began, result["meta"]))
            seconds, meta = sorted(results, key=lambda one: one[0])[len(results) // 2]
            rows.append(
                {
                    "megapixels": pixels,
                    "seconds": round(seconds, 3),
                    "timings_ms": meta["timings"],
                    "image_rows": meta["tokens"]["image"],
                }
            )
            print(f"{pixels} MP: {rows[-1]}", file=sys.stderr, flush=True)
    laws = {"seconds": [(row["megapixels"], row["seconds"]) for row in rows]}
    for stage in ("decode_ms", "measure_ms", "encode_ms", "prompt_ms"):
        laws[stage] = [(row["megapixels"], row["timings_ms"][stage]) for row in rows]
    told = {f"{name}_law": fit_law(points).told() for name, points in laws.items() if _fits(points)}
    return {"rows": rows, **told}


def _fits(points: Sequence[tuple[float, float]]) -> bool:
    return len(points) > 1 and all(y > 0 for _, y in points)


def images(args: argparse.Namespace, variables: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """One process over a folder; its memory is looked at as each line comes."""
    place = folder / "images"
    place.mkdir()
    chance = random.Random(1)
    for number in range(args.images):
        width, height = chance.choice(((640, 480), (800, 450), (900, 600)))
        (place / f"{number:05}.png").write_bytes(screenshot(width, height))
    shimmy = Path(sys.executable).with_name("shimmy")
    words = (
        "vision",
        str(place),
        "--output",
        "jsonl",
        "--no-server",
        "--mode",
        "brief",
        "--all-slices",
    )
    limits = ("--max-tokens", "8", *(("--threads", str(args.threads)) if args.threads else ()))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHIMMY_")}
    began, samples, failed = time.perf_counter(), list[tuple[int, int]](), 0
    with subprocess.Popen(
        [shimmy, *words, *limits], env={**kept, **variables}, stdout=subprocess.PIPE
    ) as process:
        watched = psutil.Process(process.pid)
        for number, line in enumerate(process.stdout or (), 1):
            failed += "error" in json.loads(line)
            if number % max(1, args.images // 100) == 0 and number < args.images:
                samples.append((number, watched.memory_info().rss))
                if len(samples) % 10 == 0:
                    told = f"{number} images: {samples[-1][1] / 1e6:.1f} MB"
                    print(told, file=sys.stderr, flush=True)
    done = [one for one in samples if one[0] >= _WARM_IMAGES]
    grows = slope(done) if len(done) > 1 else 0.0
    broken = [f"memory grows by {grows:.0f} bytes an image"] if grows > ALLOWED_BYTES else []
    broken += [f"{failed} images failed"] if failed or process.returncode else []
    return {
        "images": args.images,
        "seconds": round(time.perf_counter() - began, 1),
        "images_a_second": round(args.images / (time.perf_counter() - began), 2),
        "rss_mb": [
            [number, round(rss / 1e6, 1)] for number, rss in samples[:: max(1, len(samples) // 10)]
        ],
        "peak_mb": round(max(rss for _, rss in samples) / 1e6, 1),
        "bytes_an_image": round(grows, 1),
        "broken": broken,
    }


_MEASURES = {"concurrency": concurrency, "sizes": sizes, "images": images}


def screenshot(width: int, height: int) -> bytes:
    """Nobody has seen it before: lines of text on a light ground, as many as fit."""
    image = Image.new("RGB", (width, height), "#f5f7fa")
    draw = ImageDraw.Draw(image)
    for line in range(max(1, height // 50)):
        text = f"Line {line} of screenshot {next(_NUMBERS)}, a few words more"
        draw.text((20, 10 + 50 * line), text, fill="#1f2933", font_size=20)
    data = BytesIO()
    image.save(data, "PNG", compress_level=1)
    return data.getvalue()


@contextmanager
def _engine(args: argparse.Namespace, variables: Mapping[str, str], wide: int) -> Iterator[Analyst]:
    order = VisionOrder(
        None, args.threads, 0, 200_000_000, 30_000, _request(args.max_tokens), sequences=wide
    )
    with open_analyst(read_settings(variables), order, wide) as analyst:
        analyst.prepare(Cancellation())
        yield analyst


def _timed(analyst: Analyst, image: bytes, args: argparse.Namespace) -> float:
    began = time.perf_counter()
    _ask(analyst, image, args.max_tokens)
    return time.perf_counter() - began


def _ask(analyst: Analyst, image: bytes, tokens: int) -> dict[str, Any]:
    result = analyst.analyse(ImageJob(image, _request(tokens)), Cancellation(), _ignore)
    if result is None:
        raise RuntimeError("an image has a result")
    return result


def _request(tokens: int) -> AnalysisRequest:
    return AnalysisRequest(limits=AnswerLimits(max_tokens=tokens))


def _ignore(_event: JobEvent) -> None:
    """Only the end counts."""


def _keep(shape: str, report: dict[str, Any]) -> None:
    """The latest figures of each part and shape stand side by side."""
    RESULTS.parent.mkdir(exist_ok=True)
    kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    kept[shape] = {**kept.get(shape, {}), **report}
    RESULTS.write_text(f"{json.dumps(kept, indent=2)}\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
