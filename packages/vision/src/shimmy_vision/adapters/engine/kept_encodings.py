"""The ``ImageEncoder`` port over another one: no tile is encoded twice while its rows are kept."""

from __future__ import annotations

import hashlib

import numpy as np

from shimmy_vision.adapters.engine.bounded_lru import BoundedLru
from shimmy_vision.adapters.engine.named_turns import NamedTurns
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import (
    EmbeddingRows,
    EncodedTile,
    ImageEncoder,
    MarkupTokens,
    SliceProgress,
)

_TOKEN_BYTES = 8


class KeptEncodings:
    """Keeps what ``encoder`` makes in ``kept``, by the tile's pixels and both ``models``' digests:

    rows come from the projector, the tokens around them from the main model's vocabulary.

    Who asks for a tile that another is just having encoded waits for it, and takes over if the
    other gives up.
    """

    def __init__(
        self, encoder: ImageEncoder, models: tuple[str, str], kept: BoundedLru[EncodedTile]
    ) -> None:
        self._encoder, self._models, self._kept = encoder, models, kept
        self.turns = NamedTurns()

    @property
    def grid(self) -> EncoderGrid:
        return self._encoder.grid

    def encode(
        self, tile: RgbPixels, *, on_slice: SliceProgress, cancellation: Cancellation
    ) -> EncodedTile:
        digest = self._digest(tile)
        if self._kept.limit == 0:
            fresh = self._encoder.encode(tile, on_slice=on_slice, cancellation=cancellation)
            return EncodedTile(fresh.parts, digest)
        with self.turns.alone(digest, cancellation):
            kept = self._kept.find(digest)
            if kept is not None:
                slices = sum(isinstance(part, EmbeddingRows) for part in kept.parts)
                on_slice(slices, slices)
                return kept
            fresh = self._encoder.encode(tile, on_slice=on_slice, cancellation=cancellation)
            self._kept.keep(digest, EncodedTile(fresh.parts, digest, kept=True), _size(fresh))
        return EncodedTile(fresh.parts, digest)

    def _digest(self, tile: RgbPixels) -> str:
        digest = hashlib.sha256(f"{' '.join(self._models)} {tile.shape} ".encode())
        digest.update(np.ascontiguousarray(tile).data)
        return digest.hexdigest()


def _size(tile: EncodedTile) -> int:
    size = 0
    for part in tile.parts:
        match part:
            case MarkupTokens(tokens=tokens):
                size += _TOKEN_BYTES * len(tokens)
            case EmbeddingRows(rows=rows):
                # Many will read the same memory.
                rows.flags.writeable = False
                size += rows.nbytes
    return size
