"""Background and accent colours, counted from the pixels.

At most about half a million pixels are looked at, on a regular lattice; each is also
compared with its right and lower neighbour, because an area of a design's
colour is flat while the blends along its edges are not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.measure.colour import Rgb, hex_of, pack, unpack

_SAMPLES = 500_000
_ACCENTS = 6
_NEAR = 24.0  # RGB distance under which two colours are one to the eye of a designer
_DISTINCT = 40.0  # from the background and from other accents
_LEAST_SHARE = 0.0005
_LEAST_FLAT = 0.15  # of a colour's pixels; antialiasing stays well below
_MOST_CLUSTERS = 64
_BIN_MASK = np.uint32(0xF8F8F8)


@dataclass(frozen=True, slots=True)
class Swatch:
    """A colour and its share of the image, 0…1."""

    colour: Rgb
    share: float


@dataclass(frozen=True, slots=True)
class Palette:
    """The dominant background and up to six accents, largest share first."""

    background_swatch: Swatch
    accents: tuple[Swatch, ...]

    @property
    def background(self) -> str:
        return hex_of(self.background_swatch.colour)

    @property
    def accent_colors(self) -> tuple[str, ...]:
        return tuple(hex_of(swatch.colour) for swatch in self.accents)


@dataclass(frozen=True, slots=True)
class _Cluster:
    colour: Rgb
    share: float
    flat_share: float
    border_share: float


@dataclass(frozen=True, slots=True)
class _Bins:
    """A representative colour each, and how many pixels of which kind it stands for."""

    colours: NDArray[np.uint32]
    counts: NDArray[np.float64]
    flats: NDArray[np.float64]
    borders: NDArray[np.float64]


def measure_palette(pixels: RgbPixels) -> Palette:
    """The palette of an image of any size; deterministic."""
    clusters = _clusters(*_sample(pixels))
    background = max(clusters, key=lambda c: c.share + 0.5 * c.border_share)
    accents: list[Swatch] = []
    for cluster in sorted(clusters, key=lambda c: -c.share):
        others = (background.colour, *(accent.colour for accent in accents))
        if _is_accent(cluster) and all(_distance(cluster.colour, o) >= _DISTINCT for o in others):
            accents.append(Swatch(cluster.colour, cluster.share))
    return Palette(Swatch(background.colour, background.share), tuple(accents[:_ACCENTS]))


def _is_accent(cluster: _Cluster) -> bool:
    return cluster.share >= _LEAST_SHARE and cluster.flat_share >= _LEAST_FLAT * cluster.share


def _sample(
    pixels: RgbPixels,
) -> tuple[NDArray[np.uint32], NDArray[np.bool_], NDArray[np.bool_]]:
    """Packed colours on the lattice, which of them are flat, which lie on the border."""
    height, width, _ = pixels.shape
    step = max(1, math.isqrt(height * width // _SAMPLES) + (height * width > _SAMPLES))
    rows, columns = np.arange(0, height, step), np.arange(0, width, step)
    here = pack(pixels[np.ix_(rows, columns)])
    right = pack(pixels[np.ix_(rows, np.minimum(columns + 1, width - 1))])
    below = pack(pixels[np.ix_(np.minimum(rows + 1, height - 1), columns)])
    edge_y, edge_x = max(1, height // 50), max(1, width // 50)
    on_rows = (rows < edge_y) | (rows >= height - edge_y)
    on_columns = (columns < edge_x) | (columns >= width - edge_x)
    border = on_rows[:, np.newaxis] | on_columns[np.newaxis, :]
    return here.ravel(), ((here == right) & (here == below)).ravel(), border.ravel()


def _clusters(
    colours: NDArray[np.uint32], flat: NDArray[np.bool_], border: NDArray[np.bool_]
) -> list[_Cluster]:
    """Similar colours together, each cluster named by its most frequent member."""
    bins = _binned(colours, flat, border)
    points = np.stack([bins.colours >> shift & 255 for shift in (16, 8, 0)], axis=1).astype(float)
    taken = np.zeros(len(points), dtype=bool)
    total, border_total = float(bins.counts.sum()), float(max(1.0, bins.borders.sum()))
    clusters = []
    # Flat areas name a cluster before blends do, however many pixels the blends have.
    for index in np.lexsort((-bins.counts, -bins.flats)):
        if taken[index]:
            continue
        near = ~taken & (np.abs(points - points[index]).max(axis=1) <= _NEAR)
        taken |= near
        clusters.append(
            _Cluster(
                unpack(int(bins.colours[index])),
                float(bins.counts[near].sum()) / total,
                float(bins.flats[near].sum()) / total,
                float(bins.borders[near].sum()) / border_total,
            )
        )
        if len(clusters) >= _MOST_CLUSTERS:
            break
    return clusters


def _binned(
    colours: NDArray[np.uint32], flat: NDArray[np.bool_], border: NDArray[np.bool_]
) -> _Bins:
    """Exact colours gathered 8 levels a channel; the flattest, then commonest names its bin."""
    unique, inverse, counts = np.unique(colours, return_inverse=True, return_counts=True)
    flats = np.bincount(inverse, weights=flat, minlength=len(unique))
    borders = np.bincount(inverse, weights=border, minlength=len(unique))
    order = np.lexsort((-counts, -flats, unique & _BIN_MASK))
    first = np.flatnonzero(np.diff(unique[order] & _BIN_MASK, prepend=np.uint32(1)))
    return _Bins(
        unique[order][first],
        *(np.add.reduceat(np.asarray(v)[order], first) for v in (counts, flats, borders)),
    )


def _distance(one: Rgb, other: Rgb) -> float:
    return math.dist(one, other)
