"""Which slices of a tile are encoded, and which are seen as another one that looks like them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.image.blankness import is_blank
from shimmy_vision.domain.image.pixels import Box, RgbPixels
from shimmy_vision.domain.image.slice_grid import SlicePlan

SliceView: TypeAlias = Literal["whole", "sparing", "overview"]
"""How a tile is seen: each slice as it is; blank slices as others that look like them; or without

slices, as an image that fits into one. Slices of equal pixels are encoded once in any view.
"""

# Blank slices are taken for each other where their means, in 4 x 4 cells, are as near as this.
_CELLS = 4
_SAMPLES = 4
_ALIKE_LEVELS = 4.0


@dataclass(frozen=True, slots=True)
class SliceCount:
    """What became of the ``planned`` slices, overviews included.

    ``reused`` have the very pixels of one that was encoded before, in this image or another;
    ``skipped`` were not looked at for themselves: they are blank, or the overview is enough.
    """

    planned: int = 0
    encoded: int = 0
    reused: int = 0
    skipped: int = 0

    def __add__(self, other: SliceCount) -> SliceCount:
        return SliceCount(
            self.planned + other.planned,
            self.encoded + other.encoded,
            self.reused + other.reused,
            self.skipped + other.skipped,
        )


def overview_only(plan: SlicePlan) -> SlicePlan:
    """``plan`` without its slices."""
    return replace(plan, refined_size=None, columns=0, lines=0)


def plan_sharing(refined: RgbPixels, ground: Box, plan: SlicePlan) -> tuple[int, ...]:
    """For each slice, row by row from 0, the one that is seen in its place: mostly itself.

    ``refined`` has ``plan.refined_size``; ``ground`` is what the tile covers of it, the rest is
    black padding. Only a blank slice is seen as another: as the first that is blank and looks the
    same, whatever the padding of both. So what may be a glyph's pixel is in a slice of its own.
    """
    first: list[tuple[int, NDArray[np.float64]]] = []
    inner = refined[ground.y : ground.bottom, ground.x : ground.right]
    width, height = refined.shape[1] // plan.columns, refined.shape[0] // plan.lines
    seen = []
    for number in range(plan.slices):
        line, column = divmod(number, plan.columns)
        part = _within(Box(column * width, line * height, width, height), ground)
        own = number
        if is_blank(inner, part):
            means = _means(inner[part.y : part.bottom, part.x : part.right])
            alike = (at for at, other in first if np.abs(means - other).max() <= _ALIKE_LEVELS)
            own = next(alike, number)
            if own == number:
                first.append((number, means))
        seen.append(own)
    return tuple(seen)


def _within(one: Box, ground: Box) -> Box:
    """What ``ground`` covers of ``one``, from its own corner: nothing, in a very long strip."""
    left, top = max(one.x, ground.x), max(one.y, ground.y)
    right, bottom = min(one.right, ground.right), min(one.bottom, ground.bottom)
    return Box(left - ground.x, top - ground.y, max(0, right - left), max(0, bottom - top))


def _means(pixels: RgbPixels) -> NDArray[np.float64]:
    """Shape (4, 4, 3); of a soft gradient a few samples in each cell are enough."""
    if pixels.size == 0:
        return np.zeros((_CELLS, _CELLS, 3))
    rows, columns = (
        np.linspace(0, length - 1, _CELLS * _SAMPLES).astype(np.intp) for length in pixels.shape[:2]
    )
    sampled = pixels[np.ix_(rows, columns)].astype(np.float64)
    return np.asarray(sampled.reshape(_CELLS, _SAMPLES, _CELLS, _SAMPLES, 3).mean(axis=(1, 3)))
