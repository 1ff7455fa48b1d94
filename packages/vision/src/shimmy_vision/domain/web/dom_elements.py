"""Elements of a page as a program finds them, read from what a script in the page reported.

The page is a stranger's, so nothing here trusts the report: what has not the right form is left
out, what is too long is cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from shimmy_vision.domain.image.pixels import Box
from shimmy_vision.domain.measure.colour import Rgb, hex_of
from shimmy_vision.domain.web.legibility import is_legible
from shimmy_vision.domain.web.painted_colours import Layer, PaintedColours, Rgba, painted_colours

RootKind: TypeAlias = Literal["frame", "shadow"]

MOST_ELEMENTS = 2_000
LONGEST_TEXT = 200
LONGEST_SELECTOR = 1_000
_MOST_ATTRIBUTES, _MOST_ROOTS, _MOST_LAYERS = 30, 32, 1_000
_PLAIN_ATTRIBUTES = frozenset(
    ("type", "name", "href", "placeholder", "alt", "title", "disabled", "checked")
)


@dataclass(frozen=True, slots=True)
class RootStep:
    """Into the frame, or the shadow tree, of the one element that ``selector`` finds."""

    kind: RootKind
    selector: str


@dataclass(frozen=True, slots=True)
class DomElement:
    """A visible, interactive element.

    ``selector`` finds exactly this element in the root that ``roots`` lead to from the page's
    document, outermost first. ``box`` is in pixels of the screenshot. ``foreground`` and
    ``background`` (``#rrggbb``) are composited; they and ``contrast`` (1…21) are None where an
    image lies behind. ``compliant`` tells whether the contrast is what WCAG 2 AA requires of the
    element's text; None where that is unknown, and where nothing is required: there is no text, or
    the element is disabled.
    """

    tag: str
    role: str
    name: str
    text: str
    selector: str
    roots: tuple[RootStep, ...]
    box: Box
    attributes: Mapping[str, str]
    foreground: str | None
    background: str | None
    contrast: float | None
    compliant: bool | None = None


def read_elements(report: object, width: int, height: int) -> tuple[DomElement, ...]:
    """Elements of ``report`` inside a screenshot of ``width`` x ``height`` pixels."""
    if not isinstance(report, list):
        return ()
    read = (_read_element(one, width, height) for one in report[: 2 * MOST_ELEMENTS])
    return tuple(one for one in read if one is not None)[:MOST_ELEMENTS]


def _read_element(fields: object, width: int, height: int) -> DomElement | None:
    if not isinstance(fields, dict):
        return None
    selector, box = fields.get("selector"), _read_box(fields.get("box"), width, height)
    roots = _read_roots(fields.get("roots"))
    if box is None or roots is None or not _is_selector(selector):
        return None
    colours = _read_colours(fields)
    return DomElement(
        tag=_line(fields.get("tag"), 50),
        role=_line(fields.get("role"), 50),
        name=_line(fields.get("name"), LONGEST_TEXT),
        text=_line(fields.get("text"), LONGEST_TEXT),
        selector=cast(str, selector),
        roots=roots,
        box=box,
        attributes=_read_attributes(fields.get("attributes")),
        foreground=_hex(colours.foreground),
        background=_hex(colours.background),
        contrast=colours.ratio,
        compliant=_judge_contrast(fields, colours),
    )


def _is_selector(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_SELECTOR


def _read_box(sides: object, width: int, height: int) -> Box | None:
    """From [left, top, right, bottom]; whole pixels that hold all of it."""
    numbers = _numbers(sides, 4)
    if numbers is None:
        return None
    left, top = max(0, math.floor(numbers[0])), max(0, math.floor(numbers[1]))
    right, bottom = min(width, math.ceil(numbers[2])), min(height, math.ceil(numbers[3]))
    if right <= left or bottom <= top:
        return None
    return Box(left, top, right - left, bottom - top)


def _read_roots(steps: object) -> tuple[RootStep, ...] | None:
    if not isinstance(steps, list) or len(steps) > _MOST_ROOTS:
        return None
    roots = []
    for step in steps:
        if not isinstance(step, dict) or not _is_selector(step.get("selector")):
            return None
        if step.get("kind") not in ("frame", "shadow"):
            return None
        roots.append(RootStep(step["kind"], step["selector"]))
    return tuple(roots)


def _read_attributes(pairs: object) -> dict[str, str]:
    if not isinstance(pairs, dict):
        return {}
    kept = {
        name: _line(value, LONGEST_TEXT)
        for name, value in pairs.items()
        if isinstance(name, str) and (name in _PLAIN_ATTRIBUTES or _is_aria(name))
    }
    return dict(list(kept.items())[:_MOST_ATTRIBUTES])


def _is_aria(name: str) -> bool:
    return name.startswith("aria-") and name.isascii() and len(name) <= 40


def _read_colours(fields: Mapping[str, Any]) -> PaintedColours:
    unknown = PaintedColours(None, None, None)
    text, canvas = _rgba(fields.get("colour")), _rgba(fields.get("canvas"))
    listed = fields.get("layers")
    if text is None or canvas is None or not isinstance(listed, list):
        return unknown
    layers = [_layer(layer) for layer in listed[:_MOST_LAYERS]]
    known = [layer for layer in layers if layer is not None]
    return painted_colours(text, known, canvas) if len(known) == len(listed) else unknown


def _judge_contrast(fields: Mapping[str, Any], colours: PaintedColours) -> bool | None:
    font = _numbers(fields.get("font"), 2)
    if font is None or colours.foreground is None or colours.background is None:
        return None
    attributes = _read_attributes(fields.get("attributes"))
    if "disabled" in attributes or attributes.get("aria-disabled") == "true":
        return None
    letters = (fields.get("text"), attributes.get("placeholder"))
    if not any(isinstance(one, str) and any(map(str.isalnum, one)) for one in letters):
        return None
    return is_legible(colours.foreground, colours.background, *font)


def _layer(fields: object) -> Layer | None:
    if not isinstance(fields, dict):
        return None
    background, opacity = _rgba(fields.get("background")), _numbers([fields.get("opacity")], 1)
    if background is None or opacity is None:
        return None
    return Layer(background, min(1.0, max(0.0, opacity[0])), fields.get("image") is True)


def _rgba(value: object) -> Rgba | None:
    numbers = _numbers(value, 4)
    if numbers is None:
        return None
    red, green, blue = (min(255.0, max(0.0, number)) for number in numbers[:3])
    return red, green, blue, min(1.0, max(0.0, numbers[3]))


def _numbers(values: object, count: int) -> list[float] | None:
    if not isinstance(values, list) or len(values) != count:
        return None
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in values):
        return None
    # Whole numbers first: JSON may hold one that no float can.
    numbers = [float(v) if abs(v) < 1e9 else math.inf for v in values]
    return numbers if all(math.isfinite(number) for number in numbers) else None


def _line(value: object, longest: int) -> str:
    """One line without control characters or halves of characters."""
    if not isinstance(value, str):
        return ""
    words = value[: 20 * longest].encode(errors="replace").decode().split()
    text = "".join(char for char in " ".join(words) if char.isprintable() or char == "\u200d")
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _hex(colour: Rgb | None) -> str | None:
    return None if colour is None else hex_of(colour)
