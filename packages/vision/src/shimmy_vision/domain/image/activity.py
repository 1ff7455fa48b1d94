"""Where an image has edges, so that it can be cut where it has none."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.image.pixels import Box, RgbPixels

# Light grey text (#eeeeee on white) has a brightness step of 17; JPEG noise on flat
# areas and soft gradients stay below 12.
_STEP = 12
# In ``tint``, which has a quarter of the colour difference; a wide margin over the
# colour noise that JPEG leaves next to coloured areas.
_TINT_STEP = 24

# A straight edge this much longer than the range asked for is a border or a rule;
# the strokes of text end sooner.
_RULE = 96

# Pixels converted at a time, so that the intermediate values stay in the processor's cache.
_BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Activity:
    """Brightness and redness, shape (height, width), from which edges are counted on demand.

    ``tint`` shows what is as bright as its background but of another colour; without
    it only brightness counts.
    """

    luma: NDArray[np.uint8]
    tint: NDArray[np.uint8] | None = None

    def rows(self, top: int, bottom: int) -> NDArray[np.intp]:
        """For each row in [top, bottom): its sideways steps, but for borders running through."""
        first, last = max(0, top - _RULE), min(self.luma.shape[0], bottom + _RULE)
        return _free_steps(
            self._part(slice(first, last), slice(None)).sideways(), top - first, bottom - first
        )

    def columns(self, top: int, bottom: int, left: int, right: int) -> NDArray[np.intp]:
        """For each column in [left, right), within rows [top, bottom): its downward steps,

        but for rules running through.
        """
        first, last = max(0, left - _RULE), min(self.luma.shape[1], right + _RULE)
        steps = self._part(slice(top, bottom), slice(first, last)).downward()
        return _free_steps(steps.T, left - first, right - first)

    def sideways(self) -> NDArray[np.bool_]:
        """Shape (height, width - 1): where a pixel differs from its right neighbour."""
        return self._steps(np.s_[:, :-1], np.s_[:, 1:])

    def downward(self) -> NDArray[np.bool_]:
        """Shape (height - 1, width): where a pixel differs from its lower neighbour."""
        return self._steps(np.s_[:-1, :], np.s_[1:, :])

    def edges(self) -> NDArray[np.bool_]:
        """Shape (height, width): where a pixel differs from its right or lower neighbour."""
        edges = np.zeros(self.luma.shape, dtype=bool)
        edges[:, :-1] = self.sideways()
        edges[:-1, :] |= self.downward()
        return edges

    def part(self, box: Box) -> Activity:
        """What lies in ``box``."""
        return self._part(slice(box.y, box.bottom), slice(box.x, box.right))

    def _part(self, rows: slice, columns: slice) -> Activity:
        tint = None if self.tint is None else self.tint[rows, columns]
        return Activity(self.luma[rows, columns], tint)

    def _steps(self, before: tuple[slice, slice], after: tuple[slice, slice]) -> NDArray[np.bool_]:
        steps = _differ(self.luma[before], self.luma[after], _STEP)
        if self.tint is not None:
            steps |= _differ(self.tint[before], self.tint[after], _TINT_STEP)
        return steps


def measure_activity(pixels: RgbPixels) -> Activity:
    """Rec. 601 brightness of ``pixels``, and how much redder than green and blue they are."""
    luma = np.empty(pixels.shape[:2], dtype=np.uint8)
    tint = np.empty(pixels.shape[:2], dtype=np.uint8)
    lines = max(1, _BLOCK // pixels.shape[1])
    for top in range(0, pixels.shape[0], lines):
        part = slice(top, top + lines)
        red, green, blue = (pixels[part, :, channel].astype(np.uint16) for channel in range(3))
        luma[part] = (red * 77 + green * 150 + blue * 29) >> 8
        tint[part] = (red * 2 + 510 - green - blue) >> 2
    return Activity(luma, tint)


def _differ(one: NDArray[np.uint8], other: NDArray[np.uint8], least: int) -> NDArray[np.bool_]:
    return np.asarray(np.maximum(one, other) - np.minimum(one, other) >= least)


def _free_steps(steps: NDArray[np.bool_], start: int, end: int) -> NDArray[np.intp]:
    """Steps on each line of [start, end), without those that run on through all of them

    and on to the end of ``steps`` on either side.
    """
    through = steps[:end].all(axis=0) | steps[start:].all(axis=0)
    return np.asarray(np.count_nonzero(steps[start:end] & ~through, axis=1), dtype=np.intp)
