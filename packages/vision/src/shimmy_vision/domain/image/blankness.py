"""Whether a part of an image can hold a glyph.

A blank part is uniform or a soft gradient. The bound is that of the faintest text: letters of a
contrast of 1.05:1 differ from their ground by 3 of 255 levels, thin ones, where they are smoothed,
by one or two, and always by a rise and a fall a few pixels apart. Whatever has steps of more than
one level, is steeper than a soft gradient, or rises and falls within a stroke's width is not blank;
so noise, dithering and the ripples of a JPEG are not, either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.image.pixels import Box, RgbPixels

STROKE = 32
"""Pixels between a rise and a fall of a gradient's own. Strokes that are wider have edges sharper

than a step of one level. Beside a part as much is looked at, for a stroke that lies half in it.
"""

# A gradient may climb two levels in four pixels. A stroke that is three levels off its ground
# falls by more than that where it ends, so that its fall is seen on any gradient.
_CLIMB_PIXELS = 4
_MOST_CLIMB = 2

# Rows looked at first: nearly all that is not blank shows there.
_SAMPLED = 24

# Bytes judged at a time, so that intermediate values stay in the processor's cache.
_BLOCK_BYTES = 256_000

_CHANNELS = 3
_FALL = np.uint8(255)
_SOFT = np.uint8(2)


def is_blank(pixels: RgbPixels, box: Box) -> bool:
    """Whether no pixel in ``box`` can be one of a glyph's, of 6 pixels or more and 1.05:1 or more.

    ``pixels`` around the box are looked at as well. False says nothing: a photograph is not blank,
    with text or without.
    """
    if box.width < 1 or box.height < 1:
        return True
    own = pixels[box.y : box.bottom, box.x : box.right]
    if not _are_soft(_steps(own[:: max(1, box.height // _SAMPLED)], 1)):
        return False
    if _is_uniform(own):
        return True
    rows = slice(max(0, box.y - STROKE), box.bottom + STROKE)
    around = pixels[rows, max(0, box.x - STROKE) : box.right + STROKE]
    return not _has_both_ends(around) and _is_gradient(around)


def _has_both_ends(pixels: RgbPixels) -> bool:
    """Whether a channel has 0 and 255: modulo 256 they lie one level apart, as if it were soft."""
    rows = pixels.reshape(len(pixels), -1)
    least, most = (ends.reshape(-1, _CHANNELS) for ends in (rows.min(axis=0), rows.max(axis=0)))
    return bool(((least.min(axis=0) == 0) & (most.max(axis=0) == 255)).any())


def _is_uniform(pixels: RgbPixels) -> bool:
    rows = max(1, _BLOCK_BYTES // (pixels.shape[1] * _CHANNELS))
    first = np.tile(pixels[0, 0], (pixels.shape[1], 1))
    return all(
        bool((pixels[top : top + rows] == first).all()) for top in range(0, len(pixels), rows)
    )


def _is_gradient(pixels: RgbPixels) -> bool:
    rows = max(2 * STROKE, _BLOCK_BYTES // (pixels.shape[1] * _CHANNELS))
    return all(
        # Each block sees a stroke's width of the one before it.
        _runs_one_way(_steps(block, 1), 1) and _runs_one_way(_steps(block, 0), 0)
        for block in (
            pixels[max(0, top - STROKE) : top + rows] for top in range(0, len(pixels), rows)
        )
    )


def _steps(pixels: RgbPixels, axis: int) -> NDArray[np.uint8]:
    """Steps to the next pixel along ``axis``, modulo 256."""
    if axis:
        return np.asarray(pixels[:, 1:] - pixels[:, :-1])
    return np.asarray(pixels[1:] - pixels[:-1])


def _are_soft(steps: NDArray[np.uint8]) -> bool:
    return bool((steps + np.uint8(1) <= _SOFT).all())


def _runs_one_way(steps: NDArray[np.uint8], axis: int) -> bool:
    """Whether ``steps`` along ``axis`` are soft, and rise and fall nowhere close together."""
    if not steps.any():
        return True
    if not _are_soft(steps):
        return False
    rises, falls = steps == 1, steps == _FALL
    both = rises.any(), falls.any()
    if (both[0] and _climbs(rises, axis)) or (both[1] and _climbs(falls, axis)):
        return False
    return not (all(both) and (_near(rises, axis) & _near(falls, axis)).any())


def _climbs(steps: NDArray[np.bool_], axis: int) -> bool:
    """Whether somewhere more than ``_MOST_CLIMB`` of ``_CLIMB_PIXELS`` steps go one way."""
    count = steps.shape[axis] - _CLIMB_PIXELS + 1
    if count < 1:
        return False
    summed = sum(
        _part(steps, axis, place, place + count).view(np.uint8) for place in range(_CLIMB_PIXELS)
    )
    return bool((np.asarray(summed) > _MOST_CLIMB).any())


def _near(steps: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Where a step is at most half a stroke's width away, to either side."""
    near, shift, length = steps, 1, steps.shape[axis]
    while shift < STROKE and shift < length:
        spread = near.copy()
        _part(spread, axis, shift, length)[...] |= _part(near, axis, 0, length - shift)
        _part(spread, axis, 0, length - shift)[...] |= _part(near, axis, shift, length)
        near, shift = spread, shift * 2
    return near


def _part(values: NDArray[np.bool_], axis: int, start: int, end: int) -> NDArray[np.bool_]:
    return values[:, start:end] if axis else values[start:end]
