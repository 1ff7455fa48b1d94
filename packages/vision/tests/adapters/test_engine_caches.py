"""The numbers are there under the names that the metrics have."""

from __future__ import annotations

import numpy as np
import pytest

from shimmy_vision.adapters.engine.engine_caches import EngineCaches, KeptState
from shimmy_vision.ports.cache_limits import CacheLimits
from shimmy_vision.ports.image_encoder import EmbeddingRows


def test_numbers_tell_of_each_cache_by_itself() -> None:
    caches = EngineCaches(CacheLimits(1000, 2000, 3000))
    caches.counters.engine_loads = 2
    caches.encodings.keep("slice", EmbeddingRows(np.zeros((0, 8), dtype=np.float32)), 100)
    caches.states.keep("state", KeptState(np.zeros(200, dtype=np.uint8), 3), 200)
    caches.results.keep("result", {})
    assert caches.encodings.find("slice") is not None
    assert caches.states.find("another") is None
    counters, gauges = caches.numbers()
    assert counters == {
        "engine_loads": 2,
        "engine_unloads": 0,
        "decode_calls": 0,
        "decode_tokens": 0,
        "decode_sequences": 0,
        "encoded_slices": 0,
        "image_cache_hits": 1,
        "image_cache_misses": 0,
        "state_cache_hits": 0,
        "state_cache_misses": 1,
        "result_cache_hits": 0,
        "result_cache_misses": 0,
    }
    assert gauges == {"image_cache_bytes": 356, "state_cache_bytes": 456, "result_cache_bytes": 258}


def test_tiles_are_named_only_where_something_is_kept_by_it() -> None:
    kept = [EngineCaches(CacheLimits(*limits)).name_tiles for limits in ((1, 0), (0, 1), (0, 0, 1))]
    assert kept == [True, True, False]


@pytest.mark.parametrize("most", [0, 1, 15, 16, 32_000_000])
def test_rows_and_tiles_share_what_is_for_rows(most: int) -> None:
    caches = EngineCaches(CacheLimits(most))
    assert caches.encodings.limit + caches.tiles.limit == most
