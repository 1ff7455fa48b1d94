"""What an encoder of single slices is asked; ``KeptEncodings`` makes tiles of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from shimmy_vision.adapters.engine.slice_pixels import CutTile
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EmbeddingRows, MarkupTokens

RowsOf: TypeAlias = Callable[[int, Callable[[], EmbeddingRows]], EmbeddingRows]
"""Rows of the piece of that number: those that the callable makes, or others like them."""


class SliceEncoder(Protocol):
    """Encodes slices; safe to call from several threads at once."""

    @property
    def grid(self) -> EncoderGrid:
        """How this encoder cuts a tile into slices."""
        ...

    def encode_slices(
        self, tile: CutTile, rows_of: RowsOf, cancellation: Cancellation
    ) -> tuple[MarkupTokens | EmbeddingRows, ...]:
        """The tile as the language model takes it; ``rows_of`` is asked for each piece in turn.

        Raises StoppedError within 200 ms of cancellation, LibraryError if the
        native encoder fails.
        """
        ...
