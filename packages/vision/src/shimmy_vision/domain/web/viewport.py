"""Which windows a page can be seen through."""

from __future__ import annotations

from shimmy_vision.domain.web.refusal import Refused

SIDES, SCALES = (50, 4_000), (0.5, 4.0)
MOST_PIXELS = 60_000_000


def check_viewport(width: int, height: int, device_scale: float) -> Refused | None:
    """``width`` and ``height`` in CSS pixels; None where such a window is possible."""
    what = f"a viewport of {width}x{height} at scale {device_scale:g} is not possible"
    if not all(SIDES[0] <= side <= SIDES[1] for side in (width, height)):
        return Refused(f"{what}: sides may be {SIDES[0]} to {SIDES[1]:,}")
    # Written so that what is no number is refused too.
    if not SCALES[0] <= device_scale <= SCALES[1]:
        return Refused(f"{what}: the scale may be {SCALES[0]:g} to {SCALES[1]:g}")
    if width * height * device_scale**2 > MOST_PIXELS:
        return Refused(f"{what}: it may have {MOST_PIXELS / 1e6:g} megapixels")
    return None
