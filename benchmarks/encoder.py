"""One slice through OpenVINO in each precision, beside libmtmd: time, memory, likeness of rows.

    python benchmarks/encoder.py                      both full-shape pairs, made where missing
    python benchmarks/encoder.py --pair DIR --family 4.5     any pair of files, genuine ones too

The same image, the same threads; repetitions take turns and medians are compared. Wall time is
what counts; processor time stands beside it, because it is steadier where others use the machine.
Nothing leaves this machine; the result goes to benchmarks/results/encoder.json.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import psutil
from numpy.typing import NDArray

from make_model import default_folder, make_pair, pair_files
from shimmy_vision.adapters.engine.compute_turns import ComputeTurns
from shimmy_vision.adapters.engine.encoder_opening import open_encoder
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.engine_counters import EngineCounters
from shimmy_vision.adapters.engine.kept_encodings import KeptEncodings
from shimmy_vision.adapters.engine.llama_engine import encoder_grid
from shimmy_vision.adapters.engine.llama_library import open_native_library
from shimmy_vision.adapters.engine.llama_model import ComputeOptions, LlamaWeights, default_threads
from shimmy_vision.adapters.engine.mtmd_encoder import EncoderParts
from shimmy_vision.adapters.engine.openvino_library import open_openvino
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.model.encoder_choice import Precision, native_precisions
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EncoderOrder, EngineFiles
from shimmy_vision.ports.image_encoder import EmbeddingRows, EncodedTile, ImageEncoder
from shimmy_vision.settings import read_settings

RESULT = Path(__file__).parent / "results/encoder.json"
TARGET = 0.35
_SIDE = 448


@dataclass(frozen=True, slots=True)
class Timed:
    """Seconds a slice took in each repetition; ``cold`` the first, which packs the matrices."""

    wall: list[float]
    processor: list[float]
    cold: float


def main() -> None:
    """Measure, print a table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pair", type=Path, help="a folder with a main file and its projector")
    parser.add_argument("--family", choices=get_args(ModelFamily), default="4.6")
    parser.add_argument("--shapes", nargs="+", default=["4.6", "2.6"])
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--image", type=Path, help="default: a drawn page of text-like marks")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    image = _image(args.image)
    cases = {}
    if args.pair is not None:
        cases[args.pair.name] = _measure_pair(args.pair, args.family, image, args)
    else:
        for shape in args.shapes:
            # The language model's layers play no part here.
            pair = make_pair(shape, default_folder(), layers=4)
            cases[pair.name] = _measure_pair(pair, shape, image, args)
    result = {"machine": _machine(args.threads), "target": TARGET, "cases": cases}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _print(cases)


def _measure_pair(
    pair: Path, family: ModelFamily, image: RgbPixels, args: argparse.Namespace
) -> dict[str, Any]:
    files = _files(pair, family)
    library = open_native_library(read_settings().library_directory)
    compute = ComputeOptions(args.threads, gpu_layers=0, context_size=512)
    precisions = native_precisions(open_openvino().capabilities)
    names = ("mtmd", *precisions)
    with ExitStack() as closing:
        weights = LlamaWeights(library, files.main, gpu_layers=0)
        closing.callback(weights.close)
        turns = ComputeTurns()
        closing.callback(turns.close)
        parts = EncoderParts(library, weights, turns, EngineCounters())
        opened: dict[str, ImageEncoder] = {}
        opening: dict[str, float] = {}
        memory: dict[str, dict[str, float]] = {}
        for name in names:
            before, started = _memory(), time.perf_counter()
            one = open_encoder(parts, files, compute, _order(name), encoder_grid(family))
            opening[name] = time.perf_counter() - started
            closing.callback(one.encoder.close)
            opened[name] = KeptEncodings(one.encoder, ("", ""), EngineCaches())
            _encode(opened[name], image[:_SIDE, :_SIDE])
            memory[name] = {key: after - before[key] for key, after in _memory().items()}
        timed = _take_turns(opened, image[:_SIDE, :_SIDE], args.repetitions)
        likeness = _likeness(opened, image)
    return _case(timed, opening, memory, likeness)


def _order(name: str) -> EncoderOrder:
    if name == "mtmd":
        return EncoderOrder("mtmd")
    precision: Precision = next(one for one in get_args(Precision) if one == name)
    return EncoderOrder("openvino", precision, read_settings().cache_directory / "encoders-bench")


def _files(pair: Path, family: ModelFamily) -> EngineFiles:
    main, projector = pair_files(pair)
    identity = f"{projector}{projector.stat().st_size}{projector.stat().st_mtime_ns}"
    return EngineFiles(main, projector, family, True, "", identity)


def _take_turns(
    encoders: Mapping[str, ImageEncoder], slice_: RgbPixels, repetitions: int
) -> dict[str, Timed]:
    timed = {name: Timed([], [], 0.0) for name in encoders}
    for _ in range(repetitions):
        for name, encoder in encoders.items():
            wall, processor = time.perf_counter(), time.process_time()
            _encode(encoder, slice_)
            timed[name].wall.append(time.perf_counter() - wall)
            timed[name].processor.append(time.process_time() - processor)
    return timed


def _encode(encoder: ImageEncoder, tile: RgbPixels) -> EncodedTile:
    return encoder.encode(tile, on_slice=lambda _done, _all: None, cancellation=Cancellation())


def _likeness(
    encoders: Mapping[str, ImageEncoder], image: RgbPixels
) -> dict[str, dict[str, float]]:
    """Cosines of rows to libmtmd's, over all slices of the image."""
    rows = {name: _rows(_encode(encoder, image)) for name, encoder in encoders.items()}
    wanted = rows.pop("mtmd")
    told = {}
    for name, found in rows.items():
        cosines = (wanted * found).sum(axis=1) / _lengths(wanted) / _lengths(found)
        told[name] = {"least": float(cosines.min()), "mean": float(cosines.mean())}
    return told


def _rows(tile: EncodedTile) -> NDArray[np.float64]:
    parts = [part.rows for part in tile.parts if isinstance(part, EmbeddingRows)]
    return np.concatenate(parts).astype(np.float64)


def _lengths(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.linalg.norm(rows, axis=1)
    return lengths


def _case(
    timed: Mapping[str, Timed],
    opening: Mapping[str, float],
    memory: Mapping[str, Mapping[str, float]],
    likeness: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    base = timed["mtmd"]
    case = {}
    for name, one in timed.items():
        case[name] = {
            "wall_s": round(statistics.median(one.wall), 4),
            "processor_s": round(statistics.median(one.processor), 4),
            "wall_ratio": round(statistics.median(one.wall) / statistics.median(base.wall), 3),
            "processor_ratio": round(
                statistics.median(one.processor) / statistics.median(base.processor), 3
            ),
            "wall_all_s": [round(value, 4) for value in one.wall],
            "open_s": round(opening[name], 2),
            "memory_mb": {key: round(value) for key, value in memory[name].items()},
            "cosine_to_libmtmd": likeness.get(name),
        }
    return case


def _memory() -> dict[str, float]:
    """Resident megabytes: of this process alone, and of files that can be dropped at any time."""
    names = {"RssAnon": "own", "RssFile": "mapped"}
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {"own": psutil.Process().memory_info().rss / 1e6}
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {told: int(fields[name].split()[0]) / 1000 for name, told in names.items()}


def _image(path: Path | None) -> RgbPixels:
    """1280 x 720: rows of dark marks on light ground, or the file's own pixels."""
    if path is not None:
        from PIL import Image

        return np.asarray(Image.open(path).convert("RGB"))
    rng = np.random.default_rng(0)
    page = np.full((720, 1280, 3), 245, dtype=np.uint8)
    for top in range(20, 700, 24):
        ink = rng.random((12, 1200)) < 0.35
        page[top : top + 12, 40:1240][ink] = rng.integers(0, 90, 3, dtype=np.uint8)
    return page


def _machine(threads: int) -> dict[str, Any]:
    unknown = (-1.0, -1.0, -1.0)
    load: Callable[[], tuple[float, float, float]] = getattr(os, "getloadavg", lambda: unknown)
    openvino = open_openvino()
    return {
        "cpu": openvino.cpu,
        "system": f"{platform.system()} {platform.machine()}",
        "threads": threads,
        "load_average": [round(value, 2) for value in load()],
        "openvino": openvino.version,
        "capabilities": sorted(openvino.capabilities),
    }


def _print(cases: Mapping[str, Mapping[str, Any]]) -> None:
    for name, case in cases.items():
        print(f"\n{name}: one slice of {_SIDE} x {_SIDE}")
        print(f"{'encoder':<8} {'wall s':>8} {'ratio':>6} {'cpu s':>8} {'ratio':>6} {'cosine':>9}")
        for encoder, one in case.items():
            cosine = one["cosine_to_libmtmd"]
            least = "" if cosine is None else f"{cosine['least']:.6f}"
            print(
                f"{encoder:<8} {one['wall_s']:>8.3f} {one['wall_ratio']:>6.2f} "
                f"{one['processor_s']:>8.3f} {one['processor_ratio']:>6.2f} {least:>9}"
            )


if __name__ == "__main__":
    main()
