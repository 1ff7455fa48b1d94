"""How MiniCPM-V's encoder cuts one tile into an overview and a grid of slices.

This is libmtmd's arithmetic, single precision and rounding included, so that
the plan made here is what the encoder does; ``tests/adapters/test_slice_grid_witness.py``
holds it against libmtmd for thousands of sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np

Size: TypeAlias = tuple[int, int]
"""(width, height) in pixels."""


@dataclass(frozen=True, slots=True)
class EncoderGrid:
    """A projector's cutting rule.

    ``merge`` is how many patches in each direction become one position before
    the language model sees them: sizes are multiples of ``patch_size * merge``.
    """

    slice_size: int = 448
    patch_size: int = 14
    merge: int = 1
    max_slices: int = 9

    @property
    def step(self) -> int:
        """Sizes of overview and slices are multiples of this."""
        return self.patch_size * self.merge


@dataclass(frozen=True, slots=True)
class SlicePlan:
    """How one tile is seen: always as an overview, and as slices of ``refined_size`` if larger."""

    size: Size
    overview_size: Size
    refined_size: Size | None
    columns: int
    lines: int

    @property
    def slices(self) -> int:
        """Slices besides the overview."""
        return self.columns * self.lines

    @property
    def encodes(self) -> int:
        """Runs of the encoder: overview and slices."""
        return 1 + self.slices

    @property
    def scale(self) -> float:
        """Pixels seen per pixel of the tile, in the direction that lost more."""
        seen = self.refined_size or self.overview_size
        return min(seen[0] / self.size[0], seen[1] / self.size[1])


@lru_cache(maxsize=65536)
def plan_slices(width: int, height: int, grid: EncoderGrid) -> SlicePlan:
    """The plan for a tile of ``width`` x ``height`` pixels, both at least 1."""
    if width <= grid.slice_size and height <= grid.slice_size:
        # Small tiles are stretched to one square slice.
        return SlicePlan((width, height), (grid.slice_size, grid.slice_size), None, 0, 0)
    overview = _fit((width, height), grid, upscale=False)
    columns, lines = _best_grid(width, height, grid)
    cell = (
        _round_to(width, columns) // columns,
        _round_to(height, lines) // lines,
    )
    fitted = _fit(cell, grid, upscale=True)
    refined = (fitted[0] * columns, fitted[1] * lines)
    return SlicePlan((width, height), overview, refined, columns, lines)


def _best_grid(width: int, height: int, grid: EncoderGrid) -> tuple[int, int]:
    """The (columns, lines) whose shape is nearest to the tile's, near the wanted number."""
    area = np.float32(width) * np.float32(height) / np.float32(grid.slice_size**2)
    wanted = min(int(np.ceil(area)), grid.max_slices)
    shape = np.float32(np.log(np.float32(width) / np.float32(height)))
    best, least = (1, 1), np.float32(np.inf)
    for count in (wanted - 1, wanted, wanted + 1):
        if count == 1 or count > grid.max_slices:
            continue
        for columns in (n for n in range(1, count + 1) if count % n == 0):
            lines = count // columns
            error = np.float32(abs(float(shape) - float(np.log(columns / lines))))
            if error < least:
                best, least = (columns, lines), error
    return best


def _fit(size: Size, grid: EncoderGrid, *, upscale: bool) -> Size:
    """``size`` at its own shape with one slice's area, rounded to the grid's step."""
    width, height = size
    if width * height > grid.slice_size**2 or upscale:
        shape = np.float32(width) / np.float32(height)
        height = int(np.float32(grid.slice_size) / np.sqrt(shape))
        width = int(np.float32(height) * shape)
    return _round_to(width, grid.step), _round_to(height, grid.step)


def _round_to(length: int, step: int) -> int:
    """The nearest multiple of ``step``, halves up, at least one step."""
    return max(int(np.floor(np.float32(length) / np.float32(step) + np.float32(0.5))) * step, step)
