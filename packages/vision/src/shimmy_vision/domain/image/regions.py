"""Runs and connected areas of boolean grids."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


def true_runs(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Shape (n,) of flags → shape (runs, 2): start and exclusive end of each run of True."""
    edges = np.diff(np.concatenate(([False], flags, [False])).astype(np.int8))
    return np.flatnonzero(edges).reshape(-1, 2)


class Region(NamedTuple):
    """Bounds in cells, ``right`` and ``bottom`` exclusive, and how many cells are set."""

    left: int
    top: int
    right: int
    bottom: int
    cells: int


class _Run(NamedTuple):
    row: int
    start: int
    end: int


def connected_regions(grid: NDArray[np.bool_]) -> list[Region]:
    """Areas of set cells that touch along edges or corners, in reading order."""
    runs = list(_runs(grid))
    parents = list(range(len(runs)))
    previous: list[int] = []
    current: list[int] = []
    row = -1
    for index, run in enumerate(runs):
        if run.row != row:
            previous, current = (current if run.row == row + 1 else []), []
            row = run.row
        current.append(index)
        for above in previous:
            if runs[above].start <= run.end and run.start <= runs[above].end:
                _join(parents, above, index)
    regions: dict[int, Region] = {}
    for index, run in enumerate(runs):
        root = _root(parents, index)
        regions[root] = _grow(regions.get(root), run)
    return sorted(regions.values(), key=lambda region: (region.top, region.left))


def _runs(grid: NDArray[np.bool_]) -> Iterator[_Run]:
    for row, cells in enumerate(grid):
        for start, end in true_runs(cells):
            yield _Run(row, int(start), int(end))


def _grow(region: Region | None, run: _Run) -> Region:
    if region is None:
        return Region(run.start, run.row, run.end, run.row + 1, run.end - run.start)
    return Region(
        min(region.left, run.start),
        min(region.top, run.row),
        max(region.right, run.end),
        max(region.bottom, run.row + 1),
        region.cells + run.end - run.start,
    )


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index


def _join(parents: list[int], one: int, other: int) -> None:
    parents[_root(parents, other)] = _root(parents, one)
