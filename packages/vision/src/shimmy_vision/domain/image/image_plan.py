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

from shimmy_vision.domain.image.activity import Activity
from shimmy_vision.domain.image.pixels import Box
from shimmy_vision.domain.image.regions import true_runs
from shimmy_vision.domain.image.slice_grid import EncoderGrid, SlicePlan, plan_slices

FULL_RESOLUTION = 0.97
"""From this scale on an image counts as seen whole: slices round to the encoder's patches."""

# How far neighbours reach over a cut that found no seam, for pages up to 2400 pixels
# across; larger ones are larger prints of the same text. A taller line that no seam
# passes may be cut in both tiles.
REACH = 48
_MOST_REACH = 128
_LARGE_PAGE = 2400

# How far from its nominal place a cut looks for a seam, in reaches. Searches that make a
# tile too large are given up for nearer ones.
_NEAR = 0.5
_SEARCHES = (2.0, 1.5, 1.0, _NEAR)

# Between columns a seam must be wider than the space between two words, or the cut
# would take a line apart and leave no tile a word more than its part.
_COLUMN_GAP = 12

CountSteps: TypeAlias = Callable[[int, int], NDArray[np.intp]]
"""Edges on each line of [start, end)."""


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
        for search in _SEARCHES if activity is not None else (_NEAR,):
            cutter = _Cutter(activity, _reach(width, height), search)
            tiles = tuple(_tile(box, grid) for box in cutter.boxes(width, height, rows, columns))
            if _worst(tiles) >= FULL_RESOLUTION:
                return ImagePlan(overview, tiles)
            if not fallback or _worst(tiles) > _worst(fallback):
                fallback = tiles
    return ImagePlan(overview, fallback or (overview,))


def _tile(box: Box, grid: EncoderGrid) -> Tile:
    return Tile(box, plan_slices(box.width, box.height, grid))


def _reach(width: int, height: int) -> int:
    across = min(width, height)
    return min(_MOST_REACH, max(REACH, round(REACH * across / _LARGE_PAGE)))


def _worst(tiles: tuple[Tile, ...]) -> float:
    return min(tile.plan.scale for tile in tiles)


def _divisions(width: int, height: int, grid: EncoderGrid) -> list[tuple[int, int]]:
    """(rows, columns) whose tiles are seen whole, fewest encodes first; at most a dozen.

    A cut between columns may split a line of text, one between rows cannot, so
    each further column must save a tenth of the encodes to be worth it.
    """
    capacity = grid.max_slices * grid.slice_size**2
    least = max(2, math.ceil(width * height / capacity))
    reach = _reach(width, height)
    costs = []
    for count in range(least, 3 * least + 4):
        for rows, columns in _factors(count):
            across, down = math.ceil(width / columns), math.ceil(height / rows)
            if min(across, down) < 2 * reach and min(width, height) >= 2 * reach:
                continue
            reach_x, reach_y = reach * (columns > 1), reach * (rows > 1)
            plan = plan_slices(across + reach_x, down + reach_y, grid)
            whole = plan.scale >= FULL_RESOLUTION
            cost = count * plan.encodes * (1 + 0.1 * (columns - 1))
            costs.append((not whole, cost, columns, rows))
    return [(rows, columns) for _, _, columns, rows in sorted(costs)[:12]]


def _factors(count: int) -> Iterator[tuple[int, int]]:
    for rows in range(1, count + 1):
        if count % rows == 0:
            yield rows, count // rows


@dataclass(frozen=True, slots=True)
class _Cutter:
    """Cuts along blank seams up to ``search`` reaches away; overlaps by ``reach`` without one."""

    activity: Activity | None
    reach: int
    search: float

    def boxes(self, width: int, height: int, rows: int, columns: int) -> Iterator[Box]:
        """Row bands first; each band then finds its own column seams."""
        row_steps = None if self.activity is None else self.activity.rows
        for top, bottom in self._spans(height, rows, row_steps, least=1):
            steps = None if self.activity is None else partial(self.activity.columns, top, bottom)
            for left, right in self._spans(width, columns, steps, least=_COLUMN_GAP):
                yield Box(left, top, right - left, bottom - top)

    def _spans(
        self, length: int, parts: int, steps: CountSteps | None, *, least: int
    ) -> list[tuple[int, int]]:
        """[0, length) in ``parts``; what a cut moved aside is shared by the parts after it."""
        starts, ends, cut = [0], [], 0
        for left in range(parts, 1, -1):
            nominal = cut + round((length - cut) / left)
            seam = None if steps is None else self._seam(nominal, length, steps, least)
            cut = nominal if seam is None else seam
            over = self.reach // 2 if seam is None else 0
            ends.append(min(length, cut + over))
            starts.append(max(0, cut - over))
        return list(zip(starts, [*ends, length], strict=True))

    def _seam(self, nominal: int, length: int, steps: CountSteps, least: int) -> int | None:
        """The middle of the widest blank run near ``nominal``, else of the nearest one further

        off; None if there is none.
        """
        near = _blank_runs(nominal, round(self.reach * _NEAR), length, steps, least)
        if near:
            widest = max(near, key=lambda run: (run[1] - run[0], -abs(sum(run) // 2 - nominal)))
            return sum(widest) // 2
        far = _blank_runs(nominal, round(self.reach * self.search), length, steps, least)
        return min((sum(run) // 2 for run in far), key=lambda at: abs(at - nominal), default=None)


def _blank_runs(
    nominal: int, reach: int, length: int, steps: CountSteps, least: int
) -> list[tuple[int, int]]:
    """Runs [start, end) of at least ``least`` lines without an edge."""
    low, high = max(1, nominal - reach), min(length - 1, nominal + reach)
    runs = true_runs(steps(low, high) == 0)
    return [(low + int(a), low + int(b)) for a, b in runs if b - a >= least]
