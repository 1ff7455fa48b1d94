"""Pictures of more than eight bits a pixel: reckoned in bands, not all at once."""

from __future__ import annotations

import io
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.errors import StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_intake import IntakeLimits

SIDE = 2500


def _written(values: NDArray[Any], format_: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format_, compress_level=1)
    return buffer.getvalue()


def test_a_deep_picture_takes_little_more_than_its_pixels() -> None:
    """175 KB that were 80 megapixels of 16 bits took 1.8 GB and 24 seconds of a busy machine."""
    values = np.zeros((SIDE, SIDE), np.uint16)
    values[-1] = 65535
    data = _written(values, "PNG")
    tracemalloc.start()
    try:
        decoded = PillowIntake().decode(data, IntakeLimits())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Six bytes a pixel and a band's; it was three and twenty.
    assert peak < 12 * SIDE * SIDE
    assert (decoded.pixels[0] == 0).all()
    assert (decoded.pixels[-1] == 255).all()
    assert decoded.pixels.flags.c_contiguous


@pytest.mark.parametrize("last", [1000.0, 200.0, 0.75])
def test_the_range_of_floats_is_that_of_the_whole_picture(last: float) -> None:
    """Also where what is largest stands in another band than what is first."""
    values = np.full((700, 700), 0.5, np.float32)
    values[-1, -1] = last
    values[0, 0], values[0, 1] = np.nan, np.inf
    decoded = PillowIntake().decode(_written(values, "TIFF"), IntakeLimits())
    top = 65535.0 if last > 255 else 255.0 if last > 1 else 1.0
    assert decoded.pixels[-1, -1, 0] == int(last / top * 255 + 0.5)
    assert decoded.pixels[1, 1, 0] == int(0.5 / top * 255 + 0.5)
    assert (decoded.pixels[0, :2] == 0).all()


def test_a_thrown_switch_ends_the_reckoning(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the band in which it was thrown, and not after all of them."""
    values, switch = np.zeros((700, 700), np.uint16), Cancellation()
    bands: list[int] = []

    def reckon(band: NDArray[np.float64], **_: float) -> NDArray[np.float64]:
        bands.append(len(band))
        switch.cancel("interrupted")
        return band

    monkeypatch.setattr(np, "nan_to_num", reckon)
    with pytest.raises(StoppedError):
        PillowIntake().decode(_written(values, "PNG"), IntakeLimits(), switch)
    assert len(bands) == 1
    assert bands[0] < 700
