"""The pictures that a precision is tried on: the same everywhere, drawn with whole numbers alone.

Between them they have what strains an encoder whose numbers are coarse: fine dark and light text,
strong colours under noise, nothing at all, and the hardest edges there can be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.image.pixels import RgbPixels

PICTURES_DIGEST = "8c07af1cc88de24a1dd7d5279ca78fab"
"""Of all of them at 448 pixels a side, in turn; a test holds it. Another set is tried anew."""

# Seven lines of five dots each, the uppermost first, for letters of a made-up text.
_LETTERS = (
    "0E11111F111111", "1E11111E11111E", "0E11101010110E", "1E11111111111E", "1F10101E10101F",
    "1F040404040404", "11111111110A04", "110A0404040A11", "0E111315191111", "1F01020408101F",
    "040C040404040E", "0E11010204081F", "02060A121F0202", "00000E010F110F", "0000000E040400",
)  # fmt: skip
_CELL = (6, 10)  # A letter with its space, columns and lines.


def trial_pictures(side: int) -> Mapping[str, Callable[[], RgbPixels]]:
    """What each picture is called, and what draws it, ``side`` pixels wide and high.

    Those come first on which full-shape random weights fell shortest: a refusal is then quick.
    """
    return {
        "colours": lambda: _colours(side),
        "dark text": lambda: _text(side, ink=(24, 24, 28), ground=(250, 250, 247)),
        "blank": lambda: np.full((side, side, 3), 255, dtype=np.uint8),
        "edges": lambda: _edges(side),
        "light text": lambda: _text(side, ink=(214, 222, 235), ground=(17, 20, 27)),
    }


def _scattered(places: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A number for each place that looks like chance, the same on every machine."""
    mixed = places * np.uint32(2_654_435_761)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(2_246_822_519)
    mixed ^= mixed >> np.uint32(13)
    return mixed


def _places(side: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The line and the column of each pixel."""
    lines, columns = np.indices((side, side), dtype=np.uint32)
    return lines, columns


def _text(side: int, ink: tuple[int, int, int], ground: tuple[int, int, int]) -> RgbPixels:
    """Lines of letters and spaces, the lower half twice as large."""
    page = np.empty((side, side, 3), dtype=np.uint8)
    page[:] = np.array(ground, dtype=np.uint8)
    half = side // 2
    page[:half][_letters(half, side, 1)] = ink
    page[half:][_letters(side - half, side, 2)] = ink
    return page


def _letters(height: int, width: int, size: int) -> NDArray[np.bool_]:
    """Where there is ink."""
    lines, columns = np.indices((height, width), dtype=np.uint32) // np.uint32(size)
    row, across = lines // np.uint32(_CELL[1]), columns // np.uint32(_CELL[0])
    letter = _scattered(row * np.uint32(4099) + across) % np.uint32(len(_LETTERS) + 3)
    dots = np.zeros((len(_LETTERS) + 3, _CELL[1], _CELL[0]), dtype=np.bool_)
    for number, drawn in enumerate(_LETTERS):
        for line, bits in enumerate(bytes.fromhex(drawn)):
            dots[number, line + 1, :5] = [bits >> (4 - dot) & 1 for dot in range(5)]
    down, along = lines % np.uint32(_CELL[1]), columns % np.uint32(_CELL[0])
    ink: NDArray[np.bool_] = dots[letter, down, along]
    return ink


def _colours(side: int) -> RgbPixels:
    """Slopes of strong colours and round spots, with noise over all of it."""
    lines, columns = _places(side)
    down, across = lines * np.uint32(255) // side, columns * np.uint32(255) // side
    planes = np.stack([across, down, np.uint32(255) - (down + across) // np.uint32(2)], axis=-1)
    for number, colour in enumerate(((235, 20, 30), (20, 200, 60), (30, 60, 240), (250, 220, 10))):
        middle = np.int64(side) * (number + 1) // 5
        gap = (lines.astype(np.int64) - middle) ** 2
        gap += (columns.astype(np.int64) - np.int64(side) * (4 - number) // 5) ** 2
        planes[gap < (side // 9) ** 2] = colour
    noise = _scattered(np.arange(side * side * 3, dtype=np.uint32)).reshape(side, side, 3)
    noisy = planes.astype(np.int64) + (noise % np.uint32(61)).astype(np.int64) - 30
    return np.clip(noisy, 0, 255).astype(np.uint8)


def _edges(side: int) -> RgbPixels:
    """A quarter each: single pixels in turn, bars, blocks of chance, and pure colours."""
    lines, columns = _places(side)
    one = np.uint32(1)
    half = np.uint32(side // 2)
    low, right = lines >= half, columns >= half
    on = np.where(right, columns // np.uint32(3), lines + columns) & one
    blocks = _scattered(lines // np.uint32(7) * np.uint32(733) + columns // np.uint32(7))
    on = np.where(low, blocks >> np.uint32(9) & one, on)
    planes = np.repeat((on * np.uint32(255))[..., np.newaxis], 3, axis=-1)
    pure = np.stack([blocks >> np.uint32(bit) & one for bit in (3, 5, 11)], axis=-1)
    planes[low & right] = pure[low & right] * np.uint32(255)
    return planes.astype(np.uint8)
