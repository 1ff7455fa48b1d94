"""WCAG contrast of what looks like text, measured from the pixels.

Text is found as clusters of edges, other than long straight ones, whose pixels are
two colours and the blends between them, in shapes like letters. Photographs and
noise have more colours, rules and borders other shapes; they are left out. Thin
antialiased strokes may never reach their full colour, so a measured ratio can
be lower than the designed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.image.activity import Activity, measure_activity
from shimmy_vision.domain.image.pixels import Box, RgbPixels
from shimmy_vision.domain.image.regions import Region, connected_regions, true_runs
from shimmy_vision.domain.measure.colour import contrast_ratio, hex_of, pack, unpack
from shimmy_vision.domain.measure.glyphs import glyph_heights
from shimmy_vision.domain.measure.palette import Palette

_CELL = 8
_CELL_EDGES = 5
_RULE_CELLS = 6  # a straight edge along this many cells is a rule or a border
_SAMPLE = 20_000
_MOST_REGIONS = 400
_MOST_STROKES = 40_000  # pixels of an area whose shapes are looked at
_ISSUES = 20
_BETWEEN = 28.0  # RGB distance from the line between the two colours
_TWO_COLOURED = 0.9
# Which colour is the text's: in an exact image the strongest ones together this share of
# the area. Lossy images overshoot along edges, so there one colour alone must have its share.
_STROKE_SHARE, _LOSSY_STROKE_SHARE = 0.0005, 0.004
_SAME, _EXACT_BACKGROUND = 6, 0.95  # levels; share of exactly one colour among those so near

NORMAL_TEXT, LARGE_TEXT = 4.5, 3.0  # WCAG 2.1, 1.4.3 level AA
# The band of small letters with its outer edges is 14 px in 24 px sans-serif text and 12 px in
# serif text, so serif text is held to the stricter rule a little longer.
_LARGE_LETTERS = 14
_LARGE_GLYPHS = 24


@dataclass(frozen=True, slots=True)
class ContrastIssue:
    """Text-like area whose contrast is below what its size requires."""

    box: Box
    foreground: str
    background: str
    ratio: float
    required: float


@dataclass(frozen=True, slots=True)
class Contrast:
    """``ratio`` is the lowest found; without text, background against the boldest accent."""

    ratio: float
    compliant: bool
    issues: tuple[ContrastIssue, ...]


@dataclass(frozen=True, slots=True)
class _TextArea:
    box: Box
    foreground: int
    background: int
    ratio: float
    required: float


def measure_contrast(
    pixels: RgbPixels, palette: Palette, check: Callable[[], None] = lambda: None
) -> Contrast:
    """Contrast of every text-like area; issues worst first, at most twenty.

    ``check`` is called between areas, and may raise to end it.
    """
    areas = list(_text_areas(pixels, check))
    if not areas:
        return Contrast(_boldest(palette), True, ())
    failing = sorted((a for a in areas if a.ratio < a.required), key=lambda a: a.ratio)
    issues = tuple(
        ContrastIssue(
            area.box,
            hex_of(unpack(area.foreground)),
            hex_of(unpack(area.background)),
            area.ratio,
            area.required,
        )
        for area in failing[:_ISSUES]
    )
    return Contrast(min(area.ratio for area in areas), not failing, issues)


def _boldest(palette: Palette) -> float:
    background = palette.background_swatch.colour
    ratios = [float(contrast_ratio(background, accent.colour)) for accent in palette.accents]
    return max(ratios, default=1.0)


def _text_areas(pixels: RgbPixels, check: Callable[[], None]) -> Iterator[_TextArea]:
    activity = measure_activity(pixels)
    check()
    grid = _text_cells(activity)
    check()
    regions = sorted(connected_regions(grid), key=lambda region: -region.cells)
    for region in regions[:_MOST_REGIONS]:
        check()
        area = _text_area(pixels, activity, region)
        if area is not None:
            yield area


def _text_cells(activity: Activity) -> NDArray[np.bool_]:
    """Cells with enough edges, with gaps of one cell between letters and words closed."""
    sideways = _in_cells(activity.sideways(), activity.luma.shape)
    downward = _in_cells(activity.downward(), activity.luma.shape)
    _clear_rules(downward)
    _clear_rules(sideways.transpose(2, 3, 0, 1))
    counts = np.count_nonzero(sideways | downward, axis=(1, 3))
    dense: NDArray[np.bool_] = np.greater_equal(counts, _CELL_EDGES)
    closed = dense.copy()
    closed[:, 1:-1] |= dense[:, :-2] & dense[:, 2:]
    return closed


def _in_cells(edges: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Shape (rows of cells, lines in a cell, columns of cells, columns in a cell)."""
    rows, columns = -(-shape[0] // _CELL), -(-shape[1] // _CELL)
    padded = np.zeros((rows * _CELL, columns * _CELL), dtype=bool)
    padded[: edges.shape[0], : edges.shape[1]] = edges
    return padded.reshape(rows, _CELL, columns, _CELL)


def _clear_rules(edges: NDArray[np.bool_]) -> None:
    """Remove edges that run along a line through ``_RULE_CELLS`` cells and more."""
    full: NDArray[np.bool_] = np.logical_and.reduce(edges, axis=3)
    columns = full.shape[2]
    if columns < _RULE_CELLS:
        return
    along = full[:, :, : columns - _RULE_CELLS + 1].copy()
    for shift in range(1, _RULE_CELLS):
        along &= full[:, :, shift : columns - _RULE_CELLS + 1 + shift]
    rules = np.zeros_like(full)
    for shift in range(_RULE_CELLS):
        rules[:, :, shift : columns - _RULE_CELLS + 1 + shift] |= along
    edges[rules] = False


def _text_area(pixels: RgbPixels, activity: Activity, region: Region) -> _TextArea | None:
    height, width, _ = pixels.shape
    left, top = region.left * _CELL, region.top * _CELL
    box = Box(
        left, top, min(width, region.right * _CELL) - left, min(height, region.bottom * _CELL) - top
    )
    found = _two_colours(box.crop(pixels))
    if found is None:
        return None
    foreground, background, ratio = found
    heights = glyph_heights(_strokes(pixels, box, foreground, background))
    if heights.size == 0:
        return None
    large = np.median(heights) >= _LARGE_GLYPHS or _letter_height(activity, box) >= _LARGE_LETTERS
    return _TextArea(box, foreground, background, ratio, LARGE_TEXT if large else NORMAL_TEXT)


def _two_colours(area: RgbPixels) -> tuple[int, int, float] | None:
    """(foreground, background, ratio), or None if the area is not two-coloured."""
    flat = area.reshape(-1, 3)
    sample = flat[:: max(1, len(flat) // _SAMPLE)]
    unique, counts = np.unique(pack(sample), return_counts=True)
    points = np.stack([unique >> 16 & 255, unique >> 8 & 255, unique & 255], axis=1).astype(float)
    back = int(np.argmax(counts))
    ratios = contrast_ratio(points, points[back])
    front = _strongest(points, counts, ratios)
    if front == back:
        return None
    between = _distance_to_segment(points, points[back], points[front]) <= _BETWEEN
    if counts[between].sum() < _TWO_COLOURED * len(sample):
        return None
    return int(unique[front]), int(unique[back]), float(ratios[front])


def _strongest(
    points: NDArray[np.float64], counts: NDArray[np.intp], ratios: NDArray[np.float64]
) -> int:
    """The colour furthest from the background that is more than a few stray pixels."""
    back, total = int(np.argmax(counts)), counts.sum()
    near = np.abs(points - points[back]).max(axis=1) <= _SAME
    if counts[back] < _EXACT_BACKGROUND * counts[near].sum():
        common = counts >= max(2, _LOSSY_STROKE_SHARE * total)
        return int(np.argmax(np.where(common, ratios, 0.0)))
    order = np.argsort(-ratios, kind="stable")
    reached = np.cumsum(counts[order]) >= max(2, _STROKE_SHARE * total)
    return int(order[np.argmax(reached)])


def _distance_to_segment(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    place = np.clip(_place_on_segment(points, start, end), 0.0, 1.0)
    nearest = start + place[:, np.newaxis] * (end - start)
    return np.asarray(np.linalg.norm(points - nearest, axis=1))


def _place_on_segment(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """0 at ``start``, 1 at ``end``."""
    along = end - start
    return np.asarray((points - start) @ along / (float(along @ along) or 1.0))


def _strokes(pixels: RgbPixels, box: Box, foreground: int, background: int) -> NDArray[np.bool_]:
    """Pixels nearer to the foreground, in the middle of the area if it is large."""
    framed = _window(box, pixels.shape).crop(pixels)
    start, end = np.array(unpack(background), float), np.array(unpack(foreground), float)
    place = _place_on_segment(framed.reshape(-1, 3).astype(np.float64), start, end)
    return (place >= 0.5).reshape(framed.shape[:2])


def _window(box: Box, shape: tuple[int, ...]) -> Box:
    """At most ``_MOST_STROKES`` pixels from the middle of ``box``, a cell wider all around:

    the ends of letters may lie in cells with too few edges.
    """
    height = min(box.height, max(160, _MOST_STROKES // box.width))
    width = min(box.width, _MOST_STROKES // height)
    left, top = box.x + (box.width - width) // 2, box.y + (box.height - height) // 2
    x, y = max(0, left - _CELL), max(0, top - _CELL)
    right, bottom = min(shape[1], left + width + _CELL), min(shape[0], top + height + _CELL)
    return Box(x, y, right - x, bottom - y)


def _letter_height(activity: Activity, box: Box) -> float:
    """Median height of the lines' dense bands: small letters, without ascenders and descenders."""
    edges = activity.part(box).edges()
    counts = np.count_nonzero(edges, axis=1)
    bands = [
        int(np.count_nonzero(counts[start:end] >= counts[start:end].max() / 2))
        for start, end in true_runs(counts > 0)
    ]
    return float(np.median(bands)) if bands else 0.0
