"""Whether a text's contrast is enough for its size: WCAG 2, 1.4.3 at level AA."""

from __future__ import annotations

from shimmy_vision.domain.measure.colour import Rgb, contrast_ratio
from shimmy_vision.domain.measure.contrast import LARGE_TEXT, NORMAL_TEXT

# 18 points, and 14 points where bold, of 4/3 CSS pixels each.
_LARGE, _LARGE_BOLD, _BOLD = 24.0, 56 / 3, 700.0


def required_contrast(size: float, weight: float) -> float:
    """For letters of ``size`` CSS pixels and ``weight`` 1…1000."""
    # Browsers tell sizes in single precision, 18.6667 for 14 points.
    large = size >= (_LARGE_BOLD if weight >= _BOLD else _LARGE) - 0.001
    return LARGE_TEXT if large else NORMAL_TEXT


def is_legible(foreground: Rgb, background: Rgb, size: float, weight: float) -> bool:
    """Judged by the exact ratio: 4.499 is not 4.5."""
    ratio = float(contrast_ratio(foreground, background))
    return ratio >= required_contrast(size, weight)
