"""In which order boxes of text on a page are read: rows, and columns of prose one by one.

Where a blank gutter runs down through several rows and the lines on either side fill their
columns, each column is read to its end. Elsewhere (tables, forms) rows are read from left to right.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from statistics import median
from typing import NamedTuple, TypeAlias

# Gutters of printed columns are at least one letter wide; spaces inside a line never reach here,
# because a line is one box.
_LEAST_GUTTER = 0.7

# What makes a column prose rather than a table's: lines that mostly fill it, and are long.
_LEAST_FILLED = 0.55
_LEAST_WIDTH = 10
_LEAST_LINES = 2

_FAR = 1e9


class Bounds(NamedTuple):
    """A box along and across the writing direction; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top


_Gap: TypeAlias = tuple[float, float]
_Row: TypeAlias = list[int]


def reading_order(boxes: Sequence[Bounds]) -> list[int]:
    """Indices of ``boxes``, each once, in the order in which they are read."""
    if not boxes:
        return []
    line_height = median(box.height for box in boxes)
    order: list[int] = []
    for rows, gutters in _bands(_rows(boxes), boxes, _LEAST_GUTTER * line_height):
        columns = _columns(rows, gutters, boxes)
        if len(columns) > 1 and all(_is_prose(one, boxes, line_height) for one in columns):
            order += [index for column in columns for index in column]
        else:
            order += [index for row in rows for index in row]
    return order


def _rows(boxes: Sequence[Bounds]) -> list[_Row]:
    """Boxes whose middles lie within the height of the row's first, from left to right."""
    rows: list[_Row] = []
    middles = [(box.top + box.bottom) / 2 for box in boxes]
    for index in sorted(range(len(boxes)), key=lambda i: (middles[i], boxes[i].left)):
        anchor = rows[-1][0] if rows else None
        if anchor is not None and middles[index] < middles[anchor] + boxes[anchor].height / 2:
            rows[-1].append(index)
        else:
            rows.append([index])
    return [sorted(row, key=lambda i: boxes[i].left) for row in rows]


def _bands(
    rows: Sequence[_Row], boxes: Sequence[Bounds], least: float
) -> Iterator[tuple[list[_Row], list[_Gap]]]:
    """Runs of rows that share all their gutters, and these."""
    band: list[_Row] = []
    gaps: list[_Gap] = []
    blanks = [_blanks(row, boxes) for row in rows]
    for number, row in enumerate(rows):
        # Columns whose lines are not level show their gutter only in two rows together.
        pair = _shared(blanks[number], blanks[min(number + 1, len(rows) - 1)], least)
        own = len(_inner(pair)) or len(_inner(blanks[number]))
        shared = _shared(gaps, blanks[number], least) if band else blanks[number]
        had, kept = len(_inner(gaps)), len(_inner(shared))
        if band and (kept < had or (own and not kept)):
            yield band, _inner(gaps)
            band, shared = [], blanks[number]
        band.append(row)
        gaps = shared
    yield band, _inner(gaps)


def _blanks(row: _Row, boxes: Sequence[Bounds]) -> list[_Gap]:
    """What the row leaves blank, from far left to far right."""
    blanks, at = [], -_FAR
    for index in row:
        box = boxes[index]
        if box.left > at:
            blanks.append((at, box.left))
        at = max(at, box.right)
    return [*blanks, (at, _FAR)]


def _shared(some: Sequence[_Gap], others: Sequence[_Gap], least: float) -> list[_Gap]:
    """The parts that lie in both, at least ``least`` wide; both are sorted."""
    shared, i, j = [], 0, 0
    while i < len(some) and j < len(others):
        start, end = max(some[i][0], others[j][0]), min(some[i][1], others[j][1])
        if end - start >= least:
            shared.append((start, end))
        if some[i][1] < others[j][1]:
            i += 1
        else:
            j += 1
    return shared


def _inner(gaps: Sequence[_Gap]) -> list[_Gap]:
    return [gap for gap in gaps if gap[0] > -_FAR and gap[1] < _FAR]


def _columns(
    rows: Sequence[_Row], gutters: Sequence[_Gap], boxes: Sequence[Bounds]
) -> list[list[int]]:
    columns: list[list[int]] = [[] for _ in range(len(gutters) + 1)]
    starts = [start for start, _ in gutters]  # from left to right
    for row in rows:
        for index in row:
            columns[bisect_right(starts, boxes[index].left)].append(index)
    return columns


def _is_prose(column: Sequence[int], boxes: Sequence[Bounds], line_height: float) -> bool:
    if len(column) < _LEAST_LINES:
        return False
    width = max(boxes[i].right for i in column) - min(boxes[i].left for i in column)
    filled = median(boxes[i].width for i in column)
    return width >= _LEAST_WIDTH * line_height and filled >= _LEAST_FILLED * width
