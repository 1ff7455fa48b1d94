"""The ``ImageEncoder`` port over one of slices: no slice is encoded twice while its rows are kept.

Slices of equal pixels have equal rows, in one image and in all: of a screenshot that changed in one
place, the overview and the slice of that place are encoded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from shimmy_vision.adapters.engine.engine_caches import EngineCaches, KeptTile
from shimmy_vision.adapters.engine.named_turns import NamedTurns
from shimmy_vision.adapters.engine.slice_encoder import SliceEncoder
from shimmy_vision.adapters.engine.slice_pixels import CutTile, cut_tile
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid, plan_slices
from shimmy_vision.domain.image.slice_sharing import (
    SliceCount,
    SliceView,
    overview_only,
    plan_sharing,
)
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import (
    EmbeddingRows,
    EncodedTile,
    MarkupTokens,
    SliceProgress,
)

_TOKEN_BYTES = 8
_NAME_BYTES = 128


class KeptEncodings:
    """Keeps what ``encoder`` makes in ``caches``: rows by the slice's pixels and the projector,

    and which rows a tile is made of by its pixels and both ``models``' digests, because the tokens
    around the rows come from the main model's vocabulary.

    Who asks for a slice that another is just having encoded waits for it, and takes over if the
    other gives up.
    """

    def __init__(
        self, encoder: SliceEncoder, models: tuple[str, str], caches: EngineCaches
    ) -> None:
        self._encoder, self._models, self._caches = encoder, models, caches
        self.turns = NamedTurns()

    @property
    def grid(self) -> EncoderGrid:
        return self._encoder.grid

    def encode(
        self,
        tile: RgbPixels,
        *,
        on_slice: SliceProgress,
        cancellation: Cancellation,
        view: SliceView = "whole",
    ) -> EncodedTile:
        digest = _digest(f"{self._models} {view}", tile) if self._caches.name_tiles else ""
        kept = self._recall(digest)
        if kept is None:
            return self._encode(tile, view, digest, on_slice, cancellation)
        slices = sum(isinstance(part, EmbeddingRows) for part in kept.parts)
        on_slice(slices, slices)
        return kept

    def _recall(self, digest: str) -> EncodedTile | None:
        """The tile, where all of its rows are still there."""
        rows, tile = self._caches.encodings, self._caches.tiles.find(digest)
        if tile is None or not all(rows.holds(p) for p in tile.parts if isinstance(p, str)):
            return None
        found = [rows.find(part) if isinstance(part, str) else part for part in tile.parts]
        parts = tuple(part for part in found if part is not None)
        count = SliceCount(tile.planned, 0, tile.planned - tile.skipped, tile.skipped)
        return EncodedTile(parts, digest, count) if len(parts) == len(tile.parts) else None

    def _encode(
        self,
        tile: RgbPixels,
        view: SliceView,
        digest: str,
        on_slice: SliceProgress,
        cancellation: Cancellation,
    ) -> EncodedTile:
        plan = plan_slices(tile.shape[1], tile.shape[0], self.grid)
        left_out = plan.slices if view == "overview" else 0
        cut = cut_tile(tile, overview_only(plan) if left_out else plan)
        work = _TileWork(self, cut, _seen_as(cut, view), on_slice, cancellation)
        parts = self._encoder.encode_slices(cut, work.rows_of, cancellation)
        names = iter(work.names)
        named = tuple(p if isinstance(p, MarkupTokens) else next(names) for p in parts)
        skipped = work.skipped + left_out
        self._caches.tiles.keep(digest, KeptTile(named, plan.encodes, skipped), _size(named))
        count = SliceCount(plan.encodes, work.encoded, work.reused, skipped)
        return EncodedTile(parts, digest, count)

    def rows(
        self, name: str, encode: Callable[[], EmbeddingRows], cancellation: Cancellation
    ) -> tuple[EmbeddingRows, bool]:
        """Rows of the slice of that ``name``, and whether they were there before."""
        with self.turns.alone(name, cancellation):
            kept = self._caches.encodings.find(name)
            if kept is not None:
                return kept, True
            fresh = encode()
            # Many will read the same memory.
            fresh.rows.flags.writeable = False
            self._caches.encodings.keep(name, fresh, fresh.rows.nbytes)
            return fresh, False

    def name(self, piece: RgbPixels) -> str:
        """What the rows of ``piece`` are kept under."""
        return _digest(self._models[1], piece)


@dataclass(slots=True)
class _TileWork:
    """One tile on its way, piece by piece; ``seen_as`` names for each the one in its place."""

    keeper: KeptEncodings
    tile: CutTile
    seen_as: tuple[int, ...]
    on_slice: SliceProgress
    cancellation: Cancellation
    names: list[str] = field(default_factory=list)
    known: dict[str, EmbeddingRows] = field(default_factory=dict)
    encoded: int = 0
    reused: int = 0
    skipped: int = 0

    def rows_of(self, number: int, encode: Callable[[], EmbeddingRows]) -> EmbeddingRows:
        self.cancellation.check()
        own = self.seen_as[number]
        if own != number:
            name = self.names[own]
            rows = self.known[name]
            self.skipped += 1
        else:
            name = self.keeper.name(self.tile.pieces[number])
            rows = self._rows(name, encode)
        self.names.append(name)
        self.on_slice(number + 1, self.tile.plan.encodes)
        return rows

    def _rows(self, name: str, encode: Callable[[], EmbeddingRows]) -> EmbeddingRows:
        rows, before = self.known.get(name), True
        if rows is None:
            rows, before = self.keeper.rows(name, encode, self.cancellation)
            self.known[name] = rows
        self.reused += before
        self.encoded += not before
        return rows


def _seen_as(cut: CutTile, view: SliceView) -> tuple[int, ...]:
    """For each piece, the overview included, the one that is seen in its place."""
    if view != "sparing" or not cut.plan.slices:
        return tuple(range(cut.plan.encodes))
    return (0, *(1 + at for at in plan_sharing(cut.refined, cut.ground, cut.plan)))


def _digest(besides: str, pixels: RgbPixels) -> str:
    digest = hashlib.sha256(f"{besides} {pixels.shape} ".encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _size(parts: tuple[MarkupTokens | str, ...]) -> int:
    return sum(
        _NAME_BYTES if isinstance(part, str) else _TOKEN_BYTES * len(part.tokens) for part in parts
    )
