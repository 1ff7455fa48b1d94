"""Light, dark or both: measured from how bright the image's areas are."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np

from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.measure.colour import lightness
from shimmy_vision.domain.measure.palette import Palette

Theme: TypeAlias = Literal["light", "dark", "mixed"]

_SAMPLES = 100_000
_DARK, _LIGHT = 40.0, 60.0  # CIE L*
_SHARE_OF_BOTH = 0.35


def measure_theme(pixels: RgbPixels, palette: Palette) -> Theme:
    """``mixed`` if at least 35 % of the area is dark and as much is light."""
    height, width, _ = pixels.shape
    step = max(1, math.isqrt(height * width // _SAMPLES))
    levels = lightness(pixels[::step, ::step])
    dark = float(np.mean(levels < _DARK))
    light = float(np.mean(levels > _LIGHT))
    if dark >= _SHARE_OF_BOTH and light >= _SHARE_OF_BOTH:
        return "mixed"
    if dark == light:
        background = float(lightness(palette.background_swatch.colour))
        return "light" if background >= (_DARK + _LIGHT) / 2 else "dark"
    return "light" if light > dark else "dark"
