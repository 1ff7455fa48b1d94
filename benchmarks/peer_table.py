"""The table of ``docs/performance.md`` out of ``benchmarks/results/peers.json``.

python benchmarks/peer_table.py            print it
python benchmarks/peer_table.py --write    put it between the page's two marks
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULT, PAGE = HERE / "results/peers.json", HERE.parent / "docs/performance.md"
BEGIN, END = "<!-- peers: written by benchmarks/peer_table.py -->", "<!-- end of peers -->"

_NAMES = {
    "new-screenshot": "new 1280 x 720 screenshot, mode full, CPU",
    "encoder-slice": "image encode alone, a slice, over libmtmd",
    "another-mode": "same image, another mode",
    "same-request-again": "same request again",
    "four-at-once": "4 concurrent new images (total)",
    "document": "8-page PDF, ocr",
    "command": "`shimmy vision` with a warm server, over the bare HTTP request",
    "cold-over-llama.cpp": "cold `shimmy vision` to model loaded, over llama.cpp with mmap",
    "cold-over-touch": "the same, over mapping both files and touching each page",
    "memory": "memory, serve idle after load, over the weights",
    "forward-passes": "forward passes per answer ÷ tokens, mode full, a written answer",
}


def rows(results: Mapping[str, Any]) -> Iterator[str]:
    """Markdown lines, the issue's order, every shape that was measured."""
    yield "| case | pair | target | measured | | ours | best peer | processor |"
    yield "|---|---|---|---|---|---|---|---|"
    for name, words in _NAMES.items():
        for shape, told in results["shapes"].items():
            case = told["cases"].get(name)
            if case is not None:
                yield f"| {words}{_other_size(case)} | {shape} | {' | '.join(_cells(case))} |"


def _cells(case: Mapping[str, Any]) -> Iterator[str]:
    if "ratio" in case:
        yield f"≤ {case['target']:.2f}"
        yield f"**{case['ratio']:.3g}**"
    else:
        unit = case["unit"].split()[0]
        yield f"+ ≤ {case['target']} {unit}"
        yield f"**{'+' if case['value'] >= 0 else '-'} {abs(case['value']):.0f} {unit}**"
    yield "met" if case["met"] else "missed"
    yield from _both(case)
    processor = case.get("ratio_processor")
    yield "" if processor is None else f"{processor:.3g}"


def _both(case: Mapping[str, Any]) -> Iterator[str]:
    """Ours and the best peer's own figures."""
    everybody = case.get("contestants", {})
    if "best_peer" in case:
        best = case["best_peer"]
        yield _seconds(everybody["shimmy"]["wall_s"])
        yield f"{best}, {_seconds(everybody[best]['wall_s'])}"
        return
    medians = case.get("median_s", {})
    over = case.get("over", "")
    yield _seconds(medians["shimmy"]) if medians else ""
    yield f"{over}, {_seconds(medians[over])}" if over else ""


def _other_size(case: Mapping[str, Any]) -> str:
    """Said where less was measured than the case's name says."""
    order = case["measured"]["order"]
    told = []
    if "best_peer" in case and "pages" not in case and tuple(order["size"]) != (1280, 720):
        told.append("{} x {}".format(*order["size"]))
    if case.get("pages", 8) != 8:
        told.append(f"{case['pages']} pages")
    if case.get("crowd", 4) != 4:
        told.append(f"{case['crowd']} images")
    return f" (**measured with {', '.join(told)}**)" if told else ""


def _seconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.1f} s"


def write(page: Path, table: str) -> None:
    """Put the table between the marks of ``page``. Raises ValueError where they are missing."""
    text = page.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not end:
        raise ValueError(f"{page.name} lacks {BEGIN} or {END}")
    page.write_text(f"{head}{BEGIN}\n{table}\n{END}{tail}", encoding="utf-8")


def main() -> None:
    """Print or write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--results", type=Path, default=RESULT)
    parser.add_argument("--page", type=Path, default=PAGE)
    args = parser.parse_args()
    table = "\n".join(rows(json.loads(args.results.read_text(encoding="utf-8"))))
    if args.write:
        write(args.page, table)
    else:
        print(table)


if __name__ == "__main__":
    main()
