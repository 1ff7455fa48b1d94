"""The colours a reader sees, from what style sheets say of an element and what lies around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shimmy_vision.domain.measure.colour import Rgb, contrast_ratio

Rgba: TypeAlias = tuple[float, float, float, float]
"""Red, green, blue 0…255, not multiplied by alpha; alpha 0…1."""

_NOTHING: Rgba = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Layer:
    """One element's own paint: ``background`` colour, under it an image perhaps; then opacity."""

    background: Rgba
    opacity: float = 1.0
    image: bool = False


@dataclass(frozen=True, slots=True)
class PaintedColours:
    """As WCAG compares them; ``ratio`` 1…21. ``background`` is None over an image."""

    foreground: Rgb | None
    background: Rgb | None
    ratio: float | None


def painted_colours(text: Rgba, layers: Sequence[Layer], canvas: Rgba) -> PaintedColours:
    """``layers`` from the element outwards to the page; ``canvas`` is what the page lies on."""
    background = _seen(_NOTHING, layers, canvas)
    foreground = _seen(text, layers, canvas)
    if background is None or foreground is None:
        return PaintedColours(foreground, background, None)
    ratio = round(float(contrast_ratio(foreground, background)), 2)
    return PaintedColours(foreground, background, ratio)


def _seen(front: Rgba, layers: Sequence[Layer], canvas: Rgba) -> Rgb | None:
    """None where an image shines through, whose colour is not known here."""
    seen = front
    for layer in layers:
        if layer.image and seen[3] < 1.0:
            return None
        seen = _over(seen, layer.background)
        # Opacity fades an element together with everything in it.
        seen = (*seen[:3], seen[3] * layer.opacity)
    red, green, blue, _ = _over(seen, canvas)
    return round(red), round(green), round(blue)


def _over(top: Rgba, bottom: Rgba) -> Rgba:
    """Source over, as CSS composites."""
    below = bottom[3] * (1.0 - top[3])
    alpha = top[3] + below
    if alpha == 0.0:
        return _NOTHING
    red, green, blue = (
        (t * top[3] + b * below) / alpha for t, b in zip(top[:3], bottom[:3], strict=True)
    )
    return red, green, blue, alpha
