"""Which parts of an image are shown to the model, so that no pixel of text is lost.

The encoder sees at most nine slices and silently shrinks what is larger. Larger
images are cut by us into tiles that it sees at full size. Cuts follow blank
seams; where there is none, neighbours overlap, so that every line of text is
whole in at least one tile.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.activity import Activity
from shimmy_vision.domain.pixels import Box
from shimmy_vision.domain.regions import true_runs
from shimmy_vision.domain.slice_grid import EncoderGrid, SlicePlan, plan_slices

FULL_RESOLUTION = 0.97
"""From this scale on an image counts as seen whole: slices round to the encoder's patches."""

# How far a cut may move to find a blank seam, and how far neighbours reach over a
# cut that found none. A line of text taller than this may be cut in both tiles.
REACH = 48

# A row or column with at most this share of brightness steps is blank: it may
# cross a window border or a rule, but no text.
_BLANK_SHARE = 0.004


CountSteps: TypeAlias = Callable[[int, int], NDArray[np.intp]]
"""Brightness steps on each line of [start, end)."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of the image and how the encoder sees it."""

    box: Box
    plan: SlicePlan


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """``tiles`` cover the image at full size; ``overview`` is the whole image at once.

    For an image that fits the encoder they are one and the same tile.
    """

    overview: Tile
    tiles: tuple[Tile, ...]


def plan_image(
    width: int, height: int, grid: EncoderGrid, *, activity: Activity | None
) -> ImagePlan:
    """Plan an image of ``width`` x ``height`` pixels; without ``activity`` cuts are straight."""
    overview = _tile(Box(0, 0, width, height), grid)
    if overview.plan.scale >= FULL_RESOLUTION or min(width, height) < grid.step:
        return ImagePlan(overview, (overview,))
    fallback: tuple[Tile, ...] = ()
    for rows, columns in _divisions(width, height, grid):
        tiles = tuple(_tile(box, grid) for box in _boxes(width, height, rows, columns, activity))
        if all(tile.plan.scale >= FULL_RESOLUTION for tile in tiles):
            return ImagePlan(overview, tiles)
        if not fallback or _worst(tiles) > _worst(fallback):
            fallback = tiles
    return ImagePlan(overview, fallback or (overview,))


def _tile(box: Box, grid: EncoderGrid) -> Tile:
    return Tile(box, plan_slices(box.width, box.height, grid))


def _worst(tiles: tuple[Tile, ...]) -> float:
    return min(tile.plan.scale for tile in tiles)


def _divisions(width: int, height: int, grid: EncoderGrid) -> list[tuple[int, int]]:
    """(rows, columns) whose tiles are seen whole, fewest encodes first; at most a dozen.

    A cut between columns may split a line of text, one between rows cannot, so
    each further column must save a tenth of the encodes to be worth it.
    """
    capacity = grid.max_slices * grid.slice_size**2
    least = max(2, math.ceil(width * height / capacity))
    costs = []
    for count in range(least, 3 * least + 4):
        for rows, columns in _factors(count):
            across, down = math.ceil(width / columns), math.ceil(height / rows)
            if min(across, down) < 2 * REACH and min(width, height) >= 2 * REACH:
                continue
            reach_x, reach_y = REACH * (columns > 1), REACH * (rows > 1)
            plan = plan_slices(across + reach_x, down + reach_y, grid)
            whole = plan.scale >= FULL_RESOLUTION
            cost = count * plan.encodes * (1 + 0.1 * (columns - 1))
            costs.append((not whole, cost, columns, rows))
    return [(rows, columns) for _, _, columns, rows in sorted(costs)[:12]]


def _factors(count: int) -> Iterator[tuple[int, int]]:
    for rows in range(1, count + 1):
        if count % rows == 0:
            yield rows, count // rows


def _boxes(
    width: int, height: int, rows: int, columns: int, activity: Activity | None
) -> Iterator[Box]:
    """Row bands first; each band then finds its own column seams."""
    row_steps = None if activity is None else activity.rows
    for top, bottom in _spans(height, rows, across=width, steps=row_steps):
        column_steps = None if activity is None else partial(activity.columns, top, bottom)
        for left, right in _spans(width, columns, across=bottom - top, steps=column_steps):
            yield Box(left, top, right - left, bottom - top)


def _spans(
    length: int, parts: int, *, across: int, steps: CountSteps | None
) -> list[tuple[int, int]]:
    """[0, length) in ``parts``; neighbours meet at a blank seam or overlap by ``REACH``."""
    starts, ends = [0], []
    for number in range(1, parts):
        nominal = round(number * length / parts)
        seam = None if steps is None else _seam(nominal, length, across, steps)
        if seam is None:
            ends.append(min(length, nominal + REACH // 2))
            starts.append(max(0, nominal - REACH // 2))
        else:
            ends.append(seam)
            starts.append(seam)
    return list(zip(starts, [*ends, length], strict=True))


def _seam(nominal: int, length: int, across: int, steps: CountSteps) -> int | None:
    """The middle of the widest blank run within reach of ``nominal``; None if there is none."""
    low, high = max(1, nominal - REACH // 2), min(length - 1, nominal + REACH // 2)
    blank = steps(low, high) <= max(2, across * _BLANK_SHARE)
    runs = true_runs(blank)
    if len(runs) == 0:
        return None
    first, last = max(runs, key=lambda run: (run[1] - run[0], -abs(low + run.sum() // 2 - nominal)))
    return low + int(first + last) // 2
