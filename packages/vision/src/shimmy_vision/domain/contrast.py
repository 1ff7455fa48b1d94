"""WCAG contrast of what looks like text, measured from the pixels.

Text is found as clusters of edges whose pixels are two colours and the blends
between them; photographs and noise have more colours and are left out. Thin
antialiased strokes may never reach their full colour, so a measured ratio can
be lower than the designed one, never higher.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.activity import measure_activity
from shimmy_vision.domain.colour import contrast_ratio, hex_of, pack, unpack
from shimmy_vision.domain.palette import Palette
from shimmy_vision.domain.pixels import Box, RgbPixels
from shimmy_vision.domain.regions import Region, connected_regions, true_runs

_CELL = 8
_EDGE = 12  # brightness step: #eeeeee on white has 17; JPEG noise on flat areas stays below
_CELL_EDGES = 5
_SAMPLE = 20_000
_MOST_REGIONS = 400
_ISSUES = 20
_BETWEEN = 28.0  # RGB distance from the line between the two colours
_TWO_COLOURED = 0.9
_STROKE_SHARE = 0.004

NORMAL_TEXT, LARGE_TEXT = 4.5, 3.0  # WCAG 2.1, 1.4.3 level AA
# The band of small letters with its outer edges is 14 px in 24 px sans-serif text and 12 px in
# serif text, so serif text is held to the stricter rule a little longer.
_LARGE_LETTERS = 14


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


def measure_contrast(pixels: RgbPixels, palette: Palette) -> Contrast:
    """Contrast of every text-like area; issues worst first, at most twenty."""
    areas = list(_text_areas(pixels))
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


def _text_areas(pixels: RgbPixels) -> Iterator[_TextArea]:
    edges = _edges(measure_activity(pixels).luma)
    grid = _dense_cells(edges)
    regions = sorted(connected_regions(grid), key=lambda region: -region.cells)
    for region in regions[:_MOST_REGIONS]:
        area = _text_area(pixels, edges, region)
        if area is not None:
            yield area


def _edges(luma: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """True where brightness steps to the right or below."""
    edges = np.zeros(luma.shape, dtype=bool)
    edges[:, :-1] = _step(luma[:, :-1], luma[:, 1:])
    edges[:-1, :] |= _step(luma[:-1, :], luma[1:, :])
    return edges


def _step(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray(np.maximum(one, other) - np.minimum(one, other) >= _EDGE)


def _dense_cells(edges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells with enough edges, with gaps of one cell between letters and words closed."""
    height, width = edges.shape
    rows, columns = -(-height // _CELL), -(-width // _CELL)
    padded = np.zeros((rows * _CELL, columns * _CELL), dtype=np.uint8)
    padded[:height, :width] = edges
    counts = padded.reshape(rows, _CELL, columns, _CELL).sum(axis=(1, 3))
    dense = np.asarray(counts >= _CELL_EDGES)
    closed = dense.copy()
    closed[:, 1:-1] |= dense[:, :-2] & dense[:, 2:]
    return np.asarray(closed)


def _text_area(pixels: RgbPixels, edges: NDArray[np.bool_], region: Region) -> _TextArea | None:
    height, width, _ = pixels.shape
    left, top = region.left * _CELL, region.top * _CELL
    box = Box(
        left, top, min(width, region.right * _CELL) - left, min(height, region.bottom * _CELL) - top
    )
    found = _two_colours(box.crop(pixels))
    if found is None:
        return None
    foreground, background, ratio = found
    counts = np.count_nonzero(edges[box.y : box.bottom, box.x : box.right], axis=1)
    required = LARGE_TEXT if _letter_height(counts) >= _LARGE_LETTERS else NORMAL_TEXT
    return _TextArea(box, foreground, background, ratio, required)


def _two_colours(area: RgbPixels) -> tuple[int, int, float] | None:
    """(foreground, background, ratio), or None if the area is not two-coloured."""
    flat = area.reshape(-1, 3)
    sample = flat[:: max(1, len(flat) // _SAMPLE)]
    unique, counts = np.unique(pack(sample), return_counts=True)
    points = np.stack([unique >> 16 & 255, unique >> 8 & 255, unique & 255], axis=1).astype(float)
    back = int(np.argmax(counts))
    ratios = contrast_ratio(points, points[back])
    frequent = counts >= max(2, _STROKE_SHARE * len(sample))
    frequent[back] = False
    if not frequent.any():
        return None
    front = int(np.argmax(np.where(frequent, ratios, 0.0)))
    between = _distance_to_segment(points, points[back], points[front]) <= _BETWEEN
    if counts[between].sum() < _TWO_COLOURED * len(sample):
        return None
    return int(unique[front]), int(unique[back]), float(ratios[front])


def _distance_to_segment(
    points: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    along = end - start
    length = float(along @ along) or 1.0
    place = np.clip((points - start) @ along / length, 0.0, 1.0)
    nearest = start + place[:, np.newaxis] * along
    return np.asarray(np.linalg.norm(points - nearest, axis=1))


def _letter_height(counts: NDArray[np.intp]) -> float:
    """Median height of the lines' dense bands: small letters, without ascenders and descenders."""
    bands = [
        int(np.count_nonzero(counts[start:end] >= counts[start:end].max() / 2))
        for start, end in true_runs(counts > 0)
    ]
    return float(np.median(bands)) if bands else 0.0
