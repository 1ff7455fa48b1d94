"""Forward passes with and without skipping the tokens that the schema dictates.

The same image, prompt, schema, seed and bound of tokens, once decoding every token by itself and
once feeding each forced run together with the next chosen token. Passes are counted by the decoder;
they do not depend on the machine. How many tokens are forced does depend on the words: a synthetic
model's noise is longer than real labels, so its share of forced tokens is a lower bound.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from licensed import licensed
from shimmy_sandbox.synthetic_model import write_synthetic_pair
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    AnalysisRequest,
    AnswerLimits,
    Mode,
    StandardQuestion,
)
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import ignore_progress
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.settings import Settings, read_settings
from shimmy_vision.wiring.vision import open_vision

IMAGE = Path(__file__).resolve().parent.parent / "docs/samples/sign-in.png"


def main() -> int:
    """Measure every mode and print a table, or JSON with --json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--layout", choices=("2.6", "4.6"), default="4.6")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, licensed(folder) as licence:
        pair = write_synthetic_pair(Path(folder, "pair"), args.layout)
        settings = read_settings(
            {
                "SHIMMY_ALLOW_SYNTHETIC": "1",
                **licence,
                "SHIMMY_MODEL": f"{pair.main.parent}/",
            }
        )
        rows = [measure(settings, mode, args.seeds, args.max_tokens) for mode in MODES]
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    print(
        f"{'mode':<8}{'tokens':>8}{'forced':>8}{'passes':>8}{'without':>9}{'ratio':>8}{'time':>8}"
    )
    for row in rows:
        print(
            f"{row['mode']:<8}{row['tokens']:>8}{row['forced']:>8}{row['passes']:>8}"
            f"{row['passes_without']:>9}{row['ratio']:>8}{row['time_ratio']:>8}"
        )
    print("medians over seeds; ratio and time: with skipping ÷ without")
    return 0


def measure(settings: Settings, mode: Mode, seeds: int, max_tokens: int) -> dict[str, Any]:
    """Medians over ``seeds`` runs of one mode, both ways interleaved."""
    pairs = []
    request = _request(mode, 0, max_tokens, skip=True)
    order = VisionOrder(None, 0, 0, 50_000_000, 30_000, request)
    with open_vision(settings, order) as analyse:
        for seed in range(seeds):
            metas = []
            for skip in (True, False):
                request = _request(mode, seed, max_tokens, skip=skip)
                result = analyse(IMAGE.read_bytes(), request, Cancellation(), ignore_progress)
                metas.append(result["meta"])
            pairs.append(metas)

    def median(side: int, *keys: str) -> float:
        return statistics.median(_at(pair[side], keys) for pair in pairs)

    per_token = [
        statistics.median(
            pair[side]["tokens"]["forward_passes"] / pair[side]["tokens"]["generated"]
            for pair in pairs
        )
        for side in (0, 1)
    ]
    times = [
        statistics.median(
            pair[side]["timings"]["generate_ms"] / pair[side]["tokens"]["generated"]
            for pair in pairs
        )
        for side in (0, 1)
    ]
    return {
        "mode": mode,
        "tokens": median(0, "tokens", "generated"),
        "forced": median(0, "tokens", "forced"),
        "passes": median(0, "tokens", "forward_passes"),
        "passes_without": median(1, "tokens", "forward_passes"),
        "ratio": round(per_token[0] / per_token[1], 3),
        "time_ratio": round(times[0] / times[1], 3),
    }


def _at(meta: dict[str, Any], keys: tuple[str, ...]) -> float:
    value: Any = meta
    for key in keys:
        value = value[key]
    return float(value)


def _request(mode: Mode, seed: int, max_tokens: int, *, skip: bool) -> AnalysisRequest:
    return AnalysisRequest(
        StandardQuestion(mode), AnswerLimits(max_tokens=max_tokens, seed=seed, skip_forced=skip)
    )


if __name__ == "__main__":
    sys.exit(main())
