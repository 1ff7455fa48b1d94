"""A tile's pixels as libmtmd would hand them to the encoder: resized, cut, in patches.

Resizing is Pillow's bicubic, which libmtmd repeats bit for bit; the overview is stretched, the
refined image keeps its shape and is padded with black. Tests hold the pixels against libmtmd's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shimmy_vision.domain.image.pixels import Box, RgbPixels
from shimmy_vision.domain.image.slice_grid import Size, SlicePlan
from shimmy_vision.domain.model.projector_shape import POSITION_SIDE, ProjectorShape

_BASE_FREQUENCY = 10_000.0


@dataclass(frozen=True, slots=True)
class CutTile:
    """A tile's ``pixels``, and what the encoder sees of them by ``plan``: the ``overview``, and

    the slices that ``refined`` falls into. ``ground`` is the part of it that is not padding.
    """

    plan: SlicePlan
    pixels: RgbPixels
    overview: RgbPixels
    refined: RgbPixels
    ground: Box

    @property
    def pieces(self) -> list[RgbPixels]:
        """The overview, then the slices row by row."""
        plan = self.plan
        if plan.refined_size is None:
            return [self.overview]
        width, height = plan.refined_size[0] // plan.columns, plan.refined_size[1] // plan.lines
        slices = [
            self.refined[line * height : (line + 1) * height, column * width : (column + 1) * width]
            for line in range(plan.lines)
            for column in range(plan.columns)
        ]
        return [self.overview, *slices]


def cut_tile(tile: RgbPixels, plan: SlicePlan) -> CutTile:
    """``tile`` as ``plan`` says, which may leave out the slices."""
    pixels = np.ascontiguousarray(tile)
    image = Image.fromarray(pixels)
    overview = np.asarray(_resized(image, plan.overview_size))
    if plan.refined_size is None:
        width, height = plan.overview_size
        return CutTile(plan, pixels, overview, overview, Box(0, 0, width, height))
    return CutTile(plan, pixels, overview, *_padded(image, plan.refined_size))


def _resized(image: Image.Image, size: Size) -> Image.Image:
    """One direction after the other: Pillow would begin with whichever is less work."""
    for step in ((size[0], image.height), size):
        if image.size != step:
            image = image.resize(step, Image.Resampling.BICUBIC)
    return image


def _padded(image: Image.Image, size: Size) -> tuple[RgbPixels, Box]:
    """``image`` at its own shape in the middle of a black one of ``size``, and where it is."""
    if image.size == size:
        return np.asarray(image), Box(0, 0, *size)
    scale = min(np.float32(size[0]) / np.float32(image.width), _ratio(size[1], image.height))
    inner = (
        min(math.ceil(np.float32(image.width) * scale), size[0]),
        min(math.ceil(np.float32(image.height) * scale), size[1]),
    )
    whole = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    whole[top : top + inner[1], left : left + inner[0]] = np.asarray(_resized(image, inner))
    return whole, Box(left, top, *inner)


def _ratio(size: int, length: int) -> np.float32:
    return np.float32(size) / np.float32(length)


@dataclass(frozen=True, slots=True)
class GridInputs:
    """What depends on the grid of patches alone.

    ``order`` is the order in which patches are fed: as they lie, or, for a merger, so that those
    which are merged lie together. ``places`` are rows of the learned positions. A resampler adds
    sines and cosines: ``waves`` has a row for each coordinate, ``across`` and ``down`` are each
    patch's column and line.
    """

    order: NDArray[np.intp]
    places: NDArray[np.int32]
    waves: NDArray[np.float32]
    across: NDArray[np.int32]
    down: NDArray[np.int32]


def patch_rows(
    pixels: RgbPixels, shape: ProjectorShape, order: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Normalised patches in ``order``, a row each: (patches, 3 * patch_size ** 2), by planes."""
    patch = shape.patch_size
    lines, columns = pixels.shape[0] // patch, pixels.shape[1] // patch
    values = pixels.astype(np.float32)
    values /= np.float32(255)
    values -= np.array(shape.mean, dtype=np.float32)
    values /= np.array(shape.deviation, dtype=np.float32)
    tiles = values.reshape(lines, patch, columns, patch, 3).transpose(0, 2, 4, 1, 3)
    return tiles.reshape(lines * columns, -1)[order]


@lru_cache(maxsize=16)
def grid_inputs(lines: int, columns: int, shape: ProjectorShape) -> GridInputs:
    """The inputs for a slice of ``lines`` x ``columns`` patches."""
    order = _merged_order(lines, columns) if shape.kind == "merger" else np.arange(lines * columns)
    line, column = np.divmod(order, columns)
    places = np.floor(POSITION_SIDE * line / lines) * POSITION_SIDE
    places += np.floor(POSITION_SIDE * column / columns)
    return GridInputs(
        order,
        places.astype(np.int32),
        _waves(max(lines, columns), shape.embedding),
        column.astype(np.int32),
        line.astype(np.int32),
    )


def _merged_order(lines: int, columns: int) -> NDArray[np.intp]:
    """Blocks of 4 x 4, in each the windows of 2 x 2, in each the patches."""
    grid = np.arange(lines * columns).reshape(lines // 4, 2, 2, columns // 4, 2, 2)
    return grid.transpose(0, 3, 1, 4, 2, 5).reshape(-1)


def _waves(count: int, width: int) -> NDArray[np.float32]:
    """A row for each of ``count`` coordinates: sines, then cosines, half as wide as the rows."""
    quarter = width // 4
    steps = np.arange(quarter, dtype=np.float32) / np.float32(quarter)
    frequencies = np.float32(1) / np.power(np.float32(_BASE_FREQUENCY), steps)
    angles = np.arange(count, dtype=np.float32)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
