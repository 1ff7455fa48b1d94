"""Pictures whose text is known: one with a text, and the same one without."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shimmy_vision.domain.image.pixels import RgbPixels

_FOLDERS = ("/usr/share/fonts", "/System/Library/Fonts", "C:/Windows/Fonts")

# Latin, digits, marks of a pixel or two, and scripts that DejaVu has; what a font lacks shows as
# its box, which is a glyph like any other.
TEXTS = ("Sign in", "l", "i", ".", "-", "|", "1", "fi", "0.7", "_", "'", ":", "e", "W", "·")
SCRIPTS = ("Привет", "Ωμέγα", "سلام", "日本", "שלום")


@dataclass(frozen=True, slots=True)
class Ground:
    """A uniform ground, or a gradient of ``climb`` levels a pixel towards ``angle``."""

    colour: tuple[int, int, int]
    climb: float = 0.0
    angle: float = 0.0

    def draw(self, width: int, height: int) -> RgbPixels:
        """Shape (height, width, 3)."""
        rows, columns = np.mgrid[0:height, 0:width]
        along = columns * math.cos(self.angle) + rows * math.sin(self.angle)
        ramp = (along - along.min()) * self.climb
        # Towards the middle of the scale, so that nothing is cut off at its ends.
        signs = [1 if channel < 128 else -1 for channel in self.colour]
        ground = np.stack(
            [channel + sign * ramp for channel, sign in zip(self.colour, signs, strict=True)], -1
        )
        return np.asarray(np.clip(np.rint(ground), 0, 255), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Lettering:
    """What is written where; ``contrast`` is WCAG's ratio to the ground's colour there."""

    text: str
    font: str
    size: int
    x: int
    y: int
    contrast: float
    turn: int = 0
    subpixel: bool = False


def written(ground: RgbPixels, lettering: Lettering) -> RgbPixels:
    """``ground`` with the text on it, lighter or darker by its contrast."""
    mask = _mask(ground.shape[:2], lettering)
    if not lettering.subpixel:
        cover = np.repeat(mask[..., None], 3, axis=2)
    else:
        # Each colour's stripe covers a third of the pixel: its mask is a third of a pixel aside.
        padded = np.pad(mask, ((0, 0), (1, 1)))
        wide = np.stack([padded[:, 2:], mask, padded[:, :-2]], -1)
        cover = (2 * mask[..., None] + wide) / 3
    picture = ground.copy()
    rows, columns = np.nonzero(cover.any(axis=2))
    if len(rows):
        part = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        below = ground[part].astype(np.float64)
        mixed = below + (_ink(ground[part], lettering.contrast) - below) * cover[part]
        picture[part] = np.clip(np.rint(mixed), 0, 255)
    return picture


def as_jpeg(pixels: RgbPixels, quality: int) -> RgbPixels:
    """What is left of ``pixels`` after a JPEG of that quality."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file).convert("RGB"))


def luminance(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """WCAG's relative luminance of sRGB values."""
    linear = pixels / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    return np.asarray(linear @ np.array([0.2126, 0.7152, 0.0722]))


def contrast_ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """WCAG's ratio of two colours."""
    high, low = sorted((float(luminance(np.array(one))), float(luminance(np.array(other)))))[::-1]
    return (high + 0.05) / (low + 0.05)


@cache
def fonts() -> tuple[str, ...]:
    """Pillow's own (an empty name), and those of the machine that are known to be plain text."""
    found = sorted(
        str(path)
        for folder in _FOLDERS
        for path in Path(folder).rglob("*.[to]tf")
        if path.name.startswith(("DejaVu", "Liberation", "Noto")) and "Math" not in path.name
    )
    return ("", *found)


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


def _mask(shape: tuple[int, ...], lettering: Lettering) -> NDArray[np.float64]:
    layer = Image.new("L", (shape[1], shape[0]))
    font = _font(lettering.font, lettering.size)
    draw = ImageDraw.Draw(layer)
    if lettering.turn == 0:
        draw.text((lettering.x, lettering.y), lettering.text, 255, font=font)
    else:
        left, top, right, bottom = draw.textbbox((0, 0), lettering.text, font=font)
        piece = Image.new("L", (math.ceil(right - left) + 4, math.ceil(bottom - top) + 4))
        ImageDraw.Draw(piece).text((2 - left, 2 - top), lettering.text, 255, font=font)
        turned = piece.rotate(lettering.turn, Image.Resampling.BICUBIC, expand=True)
        layer.paste(turned, (lettering.x, lettering.y))
    return np.asarray(layer, dtype=np.float64) / 255


def _ink(ground: RgbPixels, contrast: float) -> NDArray[np.float64]:
    """For each pixel its own colour, mixed with white or black until the contrast is reached."""
    there = luminance(ground) + 0.05
    lighter = bool(np.median(there) * contrast <= 1.05)
    wanted = there * contrast if lighter else there / contrast
    target = 255.0 if lighter else 0.0
    low, high = np.zeros(there.shape), np.ones(there.shape)
    for _ in range(10):
        middle = (low + high) / 2
        reached = luminance(ground + (target - ground) * middle[..., None]) + 0.05
        enough = reached >= wanted if lighter else reached <= wanted
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return np.asarray(ground + (target - ground) * high[..., None])
