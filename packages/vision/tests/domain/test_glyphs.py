"""Letters are told from rules, bars, frames and specks by their shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shimmy_vision.domain.measure.glyphs import connected_areas, glyph_heights


def _flooded(grid: NDArray[np.bool_]) -> set[tuple[int, int, int, int, int]]:
    """(left, top, right, bottom, pixels) of each area, found pixel by pixel."""
    unseen, areas = {(int(y), int(x)) for y, x in np.argwhere(grid)}, set()
    while unseen:
        found, edge = set(), [unseen.pop()]
        while edge:
            y, x = edge.pop()
            found.add((y, x))
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & unseen
            unseen -= around
            edge.extend(around)
        ys, xs = zip(*found, strict=True)
        areas.add((min(xs), min(ys), max(xs) + 1, max(ys) + 1, len(found)))
    return areas


@given(arrays.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))))
def test_areas_are_those_a_flood_finds(grid: NDArray[np.bool_]) -> None:
    areas = connected_areas(grid)
    columns = (areas.left, areas.top, areas.right, areas.bottom, areas.area)
    found = sorted(zip(*(column.tolist() for column in columns), strict=True))
    assert set(found) == _flooded(grid)


def test_a_spiral_is_one_area() -> None:
    grid = np.zeros((41, 41), dtype=bool)
    for inset in range(0, 20, 2):
        grid[inset, inset : 41 - inset] = grid[inset : 41 - inset, 40 - inset] = True
        grid[40 - inset, inset : 41 - inset] = True
        grid[inset + 2 : 41 - inset, inset] = True
        grid[inset + 2, inset + 1] = True
    assert connected_areas(grid).area.tolist() == [int(grid.sum())]


def _drawn(text: str, size: int) -> NDArray[np.bool_]:
    image = Image.new("L", (900, size * 3), 255)
    ImageDraw.Draw(image).text((20, size), text, fill=0, font=ImageFont.load_default(size=size))
    return np.asarray(np.asarray(image) < 128)


@pytest.mark.parametrize("size", [11, 16, 24, 60, 100])
def test_words_have_heights_of_their_letters(size: int) -> None:
    heights = glyph_heights(_drawn("Hamburg", size))
    assert 0.4 * size <= np.median(heights) <= 0.9 * size


def _shapes(kind: str) -> NDArray[np.bool_]:
    grid = np.zeros((120, 300), dtype=bool)
    match kind:
        case "rule":
            grid[60, :] = True
        case "table":
            grid[::20, :] = grid[:, ::60] = True
        case "bars":
            for number in range(5):
                grid[40 + 6 * number : 110, 20 + 50 * number : 40 + 50 * number] = True
        case "checkers":
            grid = np.asarray(np.indices(grid.shape).sum(axis=0) // 10 % 2 == 0)
        case "specks":
            grid = np.random.default_rng(0).random(grid.shape) < 0.1
        case "corner":
            grid[50, 60:] = grid[50:, 60] = True
        case _:
            pass
    return grid


@pytest.mark.parametrize(
    "kind", ["nothing", "rule", "table", "bars", "checkers", "specks", "corner"]
)
def test_other_shapes_are_no_letters(kind: str) -> None:
    assert glyph_heights(_shapes(kind)).size == 0
