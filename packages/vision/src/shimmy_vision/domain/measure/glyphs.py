"""Is it writing? Connected strokes of a two-coloured area, judged by their shapes.

Rules, borders, bars and textures have two colours as well, but they run on past the
area, are solid rectangles, or are specks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_LEAST_HEIGHT, _MOST_HEIGHT = 4, 400
_MOST_WIDE, _MOST_TALL = 12, 20  # joined letters make wide shapes, "l" a tall one
_SOLID = 0.9  # of its box filled; letters other than "l" and "I" stay below
_GLYPH_SHARE = 0.4  # of the strokes' pixels; the rest is underlines, dots, specks
_LEAST_GLYPHS = 2


@dataclass(frozen=True, slots=True)
class Areas:
    """Connected areas: arrays of one length, in pixels; ``area`` counts set pixels."""

    left: NDArray[np.intp]
    top: NDArray[np.intp]
    right: NDArray[np.intp]
    bottom: NDArray[np.intp]
    area: NDArray[np.intp]


def glyph_heights(strokes: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Heights in pixels of what looks like letters in ``strokes``; empty if it is no writing.

    What touches the edge of ``strokes`` is taken to run on past it.
    """
    areas = connected_areas(strokes)
    height, width = areas.bottom - areas.top, areas.right - areas.left
    whole = (
        (areas.left > 0)
        & (areas.top > 0)
        & (areas.right < strokes.shape[1])
        & (areas.bottom < strokes.shape[0])
    )
    shaped = (
        (height >= _LEAST_HEIGHT)
        & (height <= _MOST_HEIGHT)
        & (width <= _MOST_WIDE * height)
        & (height <= _MOST_TALL * width)
    )
    glyphs = whole & shaped
    curved = glyphs & (areas.area < _SOLID * height * width)
    share = areas.area[glyphs].sum() / max(1, areas.area.sum())
    if np.count_nonzero(glyphs) < _LEAST_GLYPHS or not curved.any() or share < _GLYPH_SHARE:
        return np.empty(0, dtype=np.intp)
    return np.asarray(height[glyphs], dtype=np.intp)


def connected_areas(grid: NDArray[np.bool_]) -> Areas:
    """Areas of set pixels that touch along edges or corners."""
    row, start, end = _runs(grid)
    labels = _labels(row, start, end, grid.shape[1])
    _, group = np.unique(labels, return_inverse=True)
    count = int(group.max(initial=-1)) + 1
    left = np.full(count, grid.shape[1], dtype=np.intp)
    top = np.full(count, grid.shape[0], dtype=np.intp)
    right, bottom = np.zeros(count, dtype=np.intp), np.zeros(count, dtype=np.intp)
    area = np.zeros(count, dtype=np.intp)
    np.minimum.at(left, group, start)
    np.minimum.at(top, group, row)
    np.maximum.at(right, group, end)
    np.maximum.at(bottom, group, row + 1)
    np.add.at(area, group, end - start)
    return Areas(left, top, right, bottom, area)


def _runs(
    grid: NDArray[np.bool_],
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """(row, start, exclusive end) of each run of set pixels, in reading order."""
    framed = np.zeros((grid.shape[0], grid.shape[1] + 2), dtype=np.int8)
    framed[:, 1:-1] = grid
    change = np.diff(framed, axis=1)
    row, start = np.nonzero(change == 1)
    return row, start, np.nonzero(change == -1)[1]


def _labels(
    row: NDArray[np.intp], start: NDArray[np.intp], end: NDArray[np.intp], width: int
) -> NDArray[np.intp]:
    """One number per run, equal where runs hang together."""
    stride = width + 2
    starts, ends = row * stride + start, row * stride + end
    # Runs of the next row that touch this one: those that end at or after its start and
    # start at or before its end.
    first = np.searchsorted(ends, (row + 1) * stride + start, side="left")
    last = np.searchsorted(starts, (row + 1) * stride + end, side="right")
    counts = np.maximum(last - first, 0)
    above = np.repeat(np.arange(len(row)), counts)
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    below = np.repeat(first, counts) + offsets
    labels = np.arange(len(row))
    while True:
        lower = np.minimum(labels[above], labels[below])
        if np.array_equal(labels[above], labels[below]):
            return labels
        np.minimum.at(labels, labels[above], lower)
        np.minimum.at(labels, labels[below], lower)
        labels = labels[labels]
