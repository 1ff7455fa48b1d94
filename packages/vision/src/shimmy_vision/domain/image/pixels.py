"""The two words everything about pictures is said in: pixels and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

RgbPixels: TypeAlias = NDArray[np.uint8]
"""Shape (height, width, 3), sRGB, C-contiguous."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the original image, after EXIF orientation; origin top left."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def crop(self, pixels: RgbPixels) -> RgbPixels:
        """The part of ``pixels`` inside this box, as a contiguous copy."""
        return np.ascontiguousarray(pixels[self.y : self.bottom, self.x : self.right])
