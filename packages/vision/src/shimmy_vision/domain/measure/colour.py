"""Colours as WCAG 2 measures them: sRGB, relative luminance, contrast ratio."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Rgb: TypeAlias = tuple[int, int, int]


def hex_of(colour: Rgb) -> str:
    """``(255, 0, 10)`` → ``#ff000a``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def unpack(packed: int) -> Rgb:
    """``0xff000a`` → ``(255, 0, 10)``."""
    return packed >> 16 & 0xFF, packed >> 8 & 0xFF, packed & 0xFF


def pack(pixels: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Shape (…, 3) → (…): one 24-bit number a pixel."""
    wide = pixels.astype(np.uint32)
    packed = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed.astype(np.uint32)


def relative_luminance(colours: ArrayLike) -> NDArray[np.float64]:
    """Shape (…, 3) of 0…255 → (…) of 0…1, as WCAG 2 defines it."""
    channel = np.asarray(colours, dtype=np.float64) / 255.0
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]), dtype=np.float64)


def contrast_ratio(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """WCAG 2 contrast of colours of shape (…, 3): 1…21."""
    a, b = relative_luminance(one), relative_luminance(other)
    return np.asarray((np.maximum(a, b) + 0.05) / (np.minimum(a, b) + 0.05), dtype=np.float64)


def lightness(colours: ArrayLike) -> NDArray[np.float64]:
    """CIE L* of colours of shape (…, 3): 0 black … 100 white, as the eye spaces them."""
    luminance = relative_luminance(colours)
    return np.where(luminance <= 216 / 24389, luminance * 24389 / 27, 116 * np.cbrt(luminance) - 16)
