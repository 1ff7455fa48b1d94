"""Where an image has edges, so that it can be cut where it has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.pixels import RgbPixels

# A brightness step of a tenth of the range: text against its background has more,
# JPEG noise and soft gradients have less.
_STEP = 26


@dataclass(frozen=True, slots=True)
class Activity:
    """Brightness, shape (height, width), from which edges are counted on demand."""

    luma: NDArray[np.uint8]

    def rows(self, top: int, bottom: int) -> NDArray[np.intp]:
        """For each row in [top, bottom): how many sideways brightness steps it holds."""
        return _steps(self.luma[top:bottom], axis=1)

    def columns(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.intp]:
        """For each column in [left, right), within rows [top, bottom): its downward steps."""
        return _steps(self.luma[top:bottom, left:right], axis=0)


def measure_activity(pixels: RgbPixels) -> Activity:
    """Rec. 601 brightness of ``pixels``."""
    red, green, blue = (pixels[..., channel].astype(np.uint16) for channel in range(3))
    return Activity(((red * 77 + green * 150 + blue * 29) >> 8).astype(np.uint8))


def _steps(luma: NDArray[np.uint8], axis: int) -> NDArray[np.intp]:
    if luma.shape[axis] < 2:
        return np.zeros(luma.shape[1 - axis], dtype=np.intp)
    before, after = (luma[:, :-1], luma[:, 1:]) if axis == 1 else (luma[:-1, :], luma[1:, :])
    steps = np.maximum(before, after) - np.minimum(before, after) >= _STEP
    return np.asarray(np.count_nonzero(steps, axis=axis), dtype=np.intp)
