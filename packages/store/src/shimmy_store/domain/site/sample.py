"""The sample analysis on the front page: what of a real result is shown, and how it is set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shimmy_store.errors import SiteError

_WIDTH = 66
_TOKEN = re.compile(
    r'(?P<key>"(?:[^"\\]|\\.)*")(?=:)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<value>[\w.+-]+)'
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A numbered box on the picture, in its pixels."""

    number: int
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Line:
    """JSON in pieces of a kind (``key``, ``text``, ``value`` or none); ``mark`` 0 for most."""

    pieces: tuple[tuple[str, str], ...]
    mark: int


@dataclass(frozen=True, slots=True)
class Sample:
    """What is shown beside a picture of this size."""

    lines: tuple[Line, ...]
    marks: tuple[Mark, ...]
    width: int
    height: int


def compose_sample(result: Mapping[str, Any]) -> Sample:
    """Of a result of ``shimmy vision --url`` what is measured; SiteError if it is none.

    What a model wrote is left out: the sample was made with random weights.
    """
    try:
        shown = {
            "layout": {"theme": result["layout"]["theme"]},
            "visual": {
                name: result["visual"][name] for name in ("background", "accent_colors", "contrast")
            },
            "dom_map": result["dom_map"],
        }
        size = result["meta"]["image"]
        lines, marks = tuple(_lines(shown)), tuple(_marks(shown))
        return Sample(lines, marks, int(size["width"]), int(size["height"]))
    except (KeyError, TypeError, ValueError) as error:
        raise SiteError(
            "site-sample-unusable",
            f"The sample analysis is not a result of shimmy vision: {error!r}.",
            hint="site/README.md tells how it is made.",
        ) from error


def _marks(shown: Mapping[str, Any]) -> Iterator[Mark]:
    boxes = [one["box"] for one in (*shown["visual"]["contrast"]["issues"], *shown["dom_map"])]
    for number, box in enumerate(boxes, 1):
        yield Mark(number, box["x"], box["y"], box["width"], box["height"])


def _lines(shown: Mapping[str, Any]) -> Iterator[Line]:
    mark = 0
    for line in _set(shown).split("\n"):
        # Boxes come in the order of their marks, each on a line of its own.
        mark += (boxed := '"box": {' in line)
        yield Line(tuple(_pieces(line)), mark if boxed else 0)


def _set(value: Any, indent: int = 0, before: int = 0) -> str:
    """JSON with short containers on one line, so that it can be read beside the picture."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or not value or indent + before + len(flat) <= _WIDTH:
        return flat
    inner = " " * (indent + 2)
    if isinstance(value, list):
        parts = [inner + _set(one, indent + 2) for one in value]
        return "[\n" + ",\n".join(parts) + "\n" + " " * indent + "]"
    parts = []
    for name, one in value.items():
        key = json.dumps(name, ensure_ascii=False) + ": "
        parts.append(inner + key + _set(one, indent + 2, len(key)))
    return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"


def _pieces(line: str) -> Iterator[tuple[str, str]]:
    end = 0
    for match in _TOKEN.finditer(line):
        if match.start() > end:
            yield "", line[end : match.start()]
        yield match.lastgroup or "", match.group()
        end = match.end()
    if end < len(line):
        yield "", line[end:]
