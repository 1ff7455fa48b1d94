"""Plots of ``benchmarks/results/*.json`` as SVG, into ``docs/plots``.

    python benchmarks/plot_results.py            every plot whose results are there
    python benchmarks/plot_results.py peers      one of them

A plot is a function from one results file to an SVG, named in ``PLOTS``; ``svg_chart`` draws bars
and lines. Nothing is measured here, and the same results give the same bytes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from svg_chart import Bar, draw_bars

HERE = Path(__file__).resolve().parent
RESULTS, PLACE = HERE / "results", HERE.parent / "docs/plots"
Draw: TypeAlias = Callable[[dict[str, Any]], str | None]


@dataclass(frozen=True, slots=True)
class Plot:
    """Which results file is drawn, and how; None where it has nothing to draw yet."""

    results: str
    draw: Draw


def draw_ratios(results: dict[str, Any]) -> str | None:
    """Every case whose figure is a ratio, beside its target."""
    bars = [
        Bar(
            f"{name.replace('-', ' ')}, {shape}",
            (case["ratio"],),
            f"{case['ratio']:.3g} (target {case['target']:g})",
            case["target"],
            colour=0 if case["met"] else 1,
        )
        for shape, told in results["shapes"].items()
        for name, case in told["cases"].items()
        if "ratio" in case
    ]
    note = "logarithmic; the red tick is the target; blue meets it, yellow does not; less is better"
    title = "Shimmy Vision over what it is compared with"
    return draw_bars(title, note, bars, logarithmic=(0.0001, 40.0)) if bars else None


def draw_screenshot(results: dict[str, Any]) -> str | None:
    """Seconds of a new screenshot: before the first word, and writing."""
    bars = []
    for shape, told in results["shapes"].items():
        case = told["cases"].get("new-screenshot", {"contestants": {}})
        for name, one in case["contestants"].items():
            parts = (one["prefill_s"], one["generate_s"])
            words = f"{one['wall_s']:.1f} s"
            bars.append(Bar(f"{name}, {shape}", parts, words, colour=0 if name == "shimmy" else 2))
    note = "seconds; solid: until the first word, pale: writing the answer"
    return draw_bars("A new 1280 x 720 screenshot, mode full, CPU", note, bars) if bars else None


def draw_encoder(results: dict[str, Any]) -> str | None:
    """Seconds of one slice in each encoder."""
    bars = [
        Bar(
            f"{_encoder_name(name)}, {pair}",
            (one["wall_s"],),
            f"{one['wall_s']:.2f} s",
            results["target"] * case["mtmd"]["wall_s"],
            colour=2 if name == "mtmd" else 0,
        )
        for pair, case in results["cases"].items()
        for name, one in case.items()
    ]
    note = "seconds; the red tick is the target, 0.35 of libmtmd's time"
    return draw_bars("One slice of 448 x 448 through the encoder", note, bars) if bars else None


def _encoder_name(name: str) -> str:
    return "libmtmd f16" if name == "mtmd" else f"OpenVINO {name}"


PLOTS = {
    "peers": Plot("peers.json", draw_ratios),
    "screenshot": Plot("peers.json", draw_screenshot),
    "encoder": Plot("encoder.json", draw_encoder),
}


def main() -> None:
    """Draw what was asked for; say what had no results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plots", nargs="*", metavar="PLOT", help=f"of {', '.join(PLOTS)}")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=PLACE)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.plots or PLOTS:
        plot = PLOTS[name]
        file = args.results / plot.results
        drawn = plot.draw(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None
        if drawn is None:
            print(f"{name}: no results in {plot.results}")
            continue
        (args.out / f"{name}.svg").write_text(drawn, encoding="utf-8")
        print(f"{name}.svg")


if __name__ == "__main__":
    main()
