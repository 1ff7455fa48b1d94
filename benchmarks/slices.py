"""How many slices the encoder is spared, on pictures as people send them; no model is needed.

    python benchmarks/slices.py            about a minute on two cores

For each picture and mode: slices that its tiles have, and those that the encoder would run for.
Beside them what the decision costs. Written to benchmarks/results/slices.json, and printed as the
table of docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from screens import screens, successions
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.kept_encodings import KeptEncodings
from shimmy_vision.adapters.engine.slice_encoder import RowsOf
from shimmy_vision.adapters.engine.slice_pixels import CutTile, cut_tile
from shimmy_vision.domain.answer.analysis_plan import plan_passes
from shimmy_vision.domain.answer.analysis_request import Mode, StandardQuestion
from shimmy_vision.domain.image.activity import measure_activity
from shimmy_vision.domain.image.blankness import is_blank
from shimmy_vision.domain.image.image_plan import ImagePlan, Tile, plan_image
from shimmy_vision.domain.image.pixels import Box, RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.domain.image.slice_sharing import SliceCount, SliceView, plan_sharing
from shimmy_vision.ports.cache_limits import CacheLimits
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EmbeddingRows, MarkupTokens

RESULT = Path(__file__).parent / "results/slices.json"
_GRID = EncoderGrid(merge=4)
_MODES: tuple[Mode, ...] = ("full", "ocr", "brief")
_KEPT = CacheLimits(encodings_bytes=256_000_000)


class _NoEncoder:
    """Rows without a meaning: only how many are asked for counts."""

    @property
    def grid(self) -> EncoderGrid:
        return _GRID

    def encode_slices(
        self, tile: CutTile, rows_of: RowsOf, cancellation: Cancellation
    ) -> tuple[MarkupTokens | EmbeddingRows, ...]:
        def rows() -> EmbeddingRows:
            cancellation.check()
            return EmbeddingRows(np.zeros((64, 1024), dtype=np.float32))

        return tuple(rows_of(number, rows) for number in range(len(tile.pieces)))


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    told: dict[str, Any] = {"grid": "4.6", "pictures": {}, "successions": {}, "decision": {}}
    for name, pixels in screens():
        told["pictures"][name] = {
            "size": f"{pixels.shape[1]} x {pixels.shape[0]}",
            "decision_ms": round(1000 * _decision_seconds(pixels), 2),
            "modes": {mode: _counted(pixels, mode, EngineCaches()) for mode in _MODES},
        }
    for name, before, after in successions():
        caches = EngineCaches(_KEPT)
        _counted(before, "full", caches)
        told["successions"][name] = _counted(after, "full", caches)
    told["decision"] = _decision_costs()
    args.out.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    _print(told)


def _plan(pixels: RgbPixels) -> ImagePlan:
    return plan_image(pixels.shape[1], pixels.shape[0], _GRID, activity=measure_activity(pixels))


def _counted(pixels: RgbPixels, mode: Mode, caches: EngineCaches) -> dict[str, int]:
    """Planned slices of all answers' tiles, each tile once, and those that are encoded."""
    encoder = KeptEncodings(_NoEncoder(), ("m", "p"), caches)
    plan, count = _plan(pixels), SliceCount()
    passes = plan_passes(
        StandardQuestion(mode), plan, None, "auto", lambda tile: is_blank(pixels, tile.box)
    )
    needs: dict[tuple[Tile, bool, SliceView], None] = {
        (one.tile, one.blank, one.view): None for one in passes
    }
    for tile, blank, view in needs:
        if blank:
            count += SliceCount(planned=tile.plan.encodes, skipped=tile.plan.encodes)
            continue
        count += encoder.encode(
            tile.box.crop(pixels),
            on_slice=lambda _done, _all: None,
            cancellation=Cancellation(),
            view=view,
        ).count
    return {"before": count.planned, "after": count.encoded}


def _decision_seconds(pixels: RgbPixels) -> float:
    """Processor time of both decisions on all tiles, as for mode ocr; the best of three."""
    plan, best = _plan(pixels), float("inf")
    cuts = [cut_tile(tile.box.crop(pixels), tile.plan) for tile in plan.tiles]
    for _ in range(3):
        started = time.process_time()
        for tile, cut in zip(plan.tiles, cuts, strict=True):
            if not is_blank(pixels, tile.box) and cut.plan.slices:
                plan_sharing(cut.refined, cut.ground, cut.plan)
        best = min(best, time.process_time() - started)
    return best


def _decision_costs() -> dict[str, Any]:
    """Milliseconds of processor time for grounds that are looked at in full."""
    costs = {}
    for name, (width, height) in (("1280 x 720", (1280, 720)), ("8192 x 4096", (8192, 4096))):
        down = (np.arange(height) * 200 // height).astype(np.uint8)[:, None, None]
        grounds = {
            "white": np.full((height, width, 3), 255, dtype=np.uint8),
            "gradient": np.broadcast_to(down, (height, width, 3)).copy(),
            "noise": np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8),
        }
        costs[name] = {kind: round(1000 * _blank_seconds(one), 1) for kind, one in grounds.items()}
    return costs


def _blank_seconds(pixels: RgbPixels) -> float:
    height, width, _ = pixels.shape
    boxes = [
        Box(x, y, min(448, width - x), min(448, height - y))
        for y in range(0, height, 448)
        for x in range(0, width, 448)
    ]
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for box in boxes:
            is_blank(pixels, box)
        best = min(best, time.process_time() - started)
    return best


def _print(told: Mapping[str, Any]) -> None:
    print("| picture | size | full | ocr | brief | decision |\n|---|---|---|---|---|---|")
    for name, one in told["pictures"].items():
        modes = " | ".join(
            f"{counted['before']} → {counted['after']}" for counted in one["modes"].values()
        )
        print(f"| {name} | {one['size']} | {modes} | {one['decision_ms']} ms |")
    print("\n| one after the other | full, the second |\n|---|---|")
    for name, one in told["successions"].items():
        print(f"| {name} | {one['before']} → {one['after']} |")
    print("\n", json.dumps(told["decision"]))


if __name__ == "__main__":
    main()
