"""How sharp a document's page is rendered: as text needs it for this encoder, and no sharper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from shimmy_vision.domain.image.image_plan import FULL_RESOLUTION
from shimmy_vision.domain.image.slice_grid import EncoderGrid, Size, plan_slices
from shimmy_vision.errors import ImageError

POINTS_PER_INCH = 72

# A business card's 5-point print has letters 7 pixels high at 200 dpi. Above that letters only
# grow, and MiniCPM-V reads no better for it.
SHARPEST = 200

# At 120 dpi the small letters of 8-point footnotes are 7 pixels high, the least that is read
# reliably. A page that the encoder sees whole at this or more is shown to it in one piece: its
# published DocVQA scores were reached on pages shrunk into the same nine slices, and a second
# tile doubles the time.
LEAST_READABLE = 120

# Pages too large for one piece (A3, posters, drawings) hold letters of the same size as A4, and
# get what A4 gets in one piece.
LARGE_PAGE = 136

# Below this nothing is legible; a page so large is refused rather than analysed for nothing.
COARSEST = 18


@dataclass(frozen=True, slots=True)
class PageSize:
    """A page's width and height as it is shown, rotation applied, in points (1/72 inch)."""

    width: float
    height: float


@dataclass(frozen=True, slots=True)
class PixelLimits:
    """The longest side and the most pixels that a rendering may have."""

    max_dimension: int
    max_pixels: int


def size_in_pixels(size: PageSize, dpi: int) -> Size:
    """(width, height) of the page at ``dpi``, each at least 1."""
    width, height = (
        max(1, math.ceil(length * dpi / POINTS_PER_INCH - 0.01))
        for length in (size.width, size.height)
    )
    return width, height


def choose_dpi(
    size: PageSize, grid: EncoderGrid, limits: PixelLimits, wanted: int | None = None
) -> int:
    """Dots per inch to render a page at; ``wanted`` is the caller's own choice.

    A page too large for ``limits`` is rendered coarser than text needs, unless its sharpness was
    chosen. Raises ImageError page-too-large.
    """
    most = _most_within(size, limits)
    if wanted is not None:
        if wanted > most:
            raise _too_large(size, f"At {wanted} dpi", f"Lower --dpi to {most} or less.")
        return wanted
    if most < COARSEST:
        raise _too_large(size, f"Even at {COARSEST} dpi", "Split or scale the page first.")
    return min(_readable(size, grid), most)


@lru_cache(maxsize=256)
def _readable(size: PageSize, grid: EncoderGrid) -> int:
    """The sharpest at which the encoder sees the page in one piece, if text is readable so."""
    for dpi in range(SHARPEST, LEAST_READABLE - 1, -1):
        if plan_slices(*size_in_pixels(size, dpi), grid).scale >= FULL_RESOLUTION:
            return dpi
    return LARGE_PAGE


def _most_within(size: PageSize, limits: PixelLimits) -> int:
    """The highest dpi whose rendering stays within ``limits``; 0 if none does."""
    longest, area = max(size.width, size.height), size.width * size.height
    by_side = limits.max_dimension / max(longest, 1e-6)
    by_area = math.sqrt(limits.max_pixels / max(area, 1e-12))
    most = int(min(by_side, by_area, 1e6) * POINTS_PER_INCH)
    while most and not _fits(size_in_pixels(size, most), limits):
        most -= 1
    return most


def _fits(size: Size, limits: PixelLimits) -> bool:
    return max(size) <= limits.max_dimension and size[0] * size[1] <= limits.max_pixels


def _too_large(size: PageSize, at: str, hint: str) -> ImageError:
    inches = f"{size.width / POINTS_PER_INCH:,.1f} x {size.height / POINTS_PER_INCH:,.1f} inches"
    return ImageError(
        "page-too-large", f"{at} the page of {inches} has more pixels than are decoded.", hint=hint
    )
