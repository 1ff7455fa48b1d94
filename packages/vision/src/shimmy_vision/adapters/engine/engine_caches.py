"""What outlives an engine: what it did so far, and what is kept so that nothing is done twice.

Everything is kept under digests that name the model, so it holds for the next engine as well.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.adapters.engine.bounded_lru import BoundedLru
from shimmy_vision.adapters.engine.engine_counters import EngineCounters
from shimmy_vision.adapters.engine.kept_results import MemoryResults
from shimmy_vision.ports.cache_limits import NOTHING_KEPT, CacheLimits
from shimmy_vision.ports.image_encoder import EmbeddingRows, MarkupTokens

# Of the bytes for rows, what is for knowing which tile is made of which: a few hundred bytes each.
_SHARE_OF_TILES = 16


@dataclass(frozen=True, slots=True)
class KeptTile:
    """A tile's parts, with the names of its rows; ``skipped`` of its ``planned`` slices have no

    rows of their own.
    """

    parts: tuple[MarkupTokens | str, ...]
    planned: int
    skipped: int


@dataclass(frozen=True, slots=True)
class KeptState:
    """What a sequence of ``positions`` held, as llama.cpp writes it."""

    data: NDArray[np.uint8]
    positions: int


class EngineCaches:
    """The caches within their ``limits``, and the counters."""

    def __init__(self, limits: CacheLimits = NOTHING_KEPT) -> None:
        tiles = limits.encodings_bytes // _SHARE_OF_TILES
        self.encodings: BoundedLru[EmbeddingRows] = BoundedLru(limits.encodings_bytes - tiles)
        self.tiles: BoundedLru[KeptTile] = BoundedLru(tiles)
        self.states: BoundedLru[KeptState] = BoundedLru(limits.states_bytes)
        self.results = MemoryResults(limits.results_bytes)
        self.counters = EngineCounters()

    @property
    def name_tiles(self) -> bool:
        """Whether anything is kept by a tile's digest."""
        return bool(self.encodings.limit or self.states.limit)

    def numbers(self) -> tuple[dict[str, float], dict[str, float]]:
        """Counters, which only grow, and gauges, named as the metrics are; waits for nobody."""
        counters: dict[str, float] = dict(asdict(self.counters))
        gauges: dict[str, float] = {}
        for name, cache in self._caches().items():
            counters[f"{name}_cache_hits"] = cache.hits
            counters[f"{name}_cache_misses"] = cache.misses
            gauges[f"{name}_cache_bytes"] = cache.bytes
        return counters, gauges

    def _caches(
        self,
    ) -> dict[str, BoundedLru[EmbeddingRows] | BoundedLru[KeptState] | BoundedLru[bytes]]:
        return {"image": self.encodings, "state": self.states, "result": self.results.kept}
