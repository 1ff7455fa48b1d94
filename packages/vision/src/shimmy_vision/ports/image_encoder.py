"""Pixels of one tile → embedding rows, apart from the language model.

libmtmd stands behind this port today; a faster encoder can replace it without
the language model noticing, because what crosses the port is plain numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.domain.image.slice_sharing import SliceCount, SliceView
from shimmy_vision.ports.cancellation import Cancellation


@dataclass(frozen=True, slots=True)
class MarkupTokens:
    """Token ids that stand between the slices (``<image>``, ``</slice>``, newline …)."""

    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EmbeddingRows:
    """One encoded slice: float32 rows of shape (n, embedding width).

    MiniCPM-V gives the rows of a slice running positions like tokens, 4.6 with
    its multi-section rotary embedding included, so rows carry no layout.
    """

    rows: NDArray[np.float32]


_UNCOUNTED = SliceCount()


@dataclass(frozen=True, slots=True)
class EncodedTile:
    """A tile's ``parts``, its overview and slices in reading order.

    ``digest`` names pixels, view and models where something is kept by it, and is empty elsewhere;
    ``count`` tells what became of its slices.
    """

    parts: tuple[MarkupTokens | EmbeddingRows, ...]
    digest: str = ""
    count: SliceCount = _UNCOUNTED

    @property
    def kept(self) -> bool:
        """Whether nothing had to be encoded for it."""
        return self.count.planned > 0 and self.count.encoded == 0


SliceProgress: TypeAlias = Callable[[int, int], None]
"""Called with (slices done, slices in this tile)."""


class ImageEncoder(Protocol):
    """Encodes tiles; safe to call from several threads at once."""

    @property
    def grid(self) -> EncoderGrid:
        """How this encoder cuts a tile into slices."""
        ...

    def encode(
        self,
        tile: RgbPixels,
        *,
        on_slice: SliceProgress,
        cancellation: Cancellation,
        view: SliceView = "whole",
    ) -> EncodedTile:
        """The tile as the language model takes it, seen as ``view`` says.

        Raises StoppedError within 200 ms of cancellation, LibraryError if the
        native encoder fails.
        """
        ...
