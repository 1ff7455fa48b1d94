"""No tile is encoded twice while its rows are kept, also when two ask at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest
from threads import Background, until

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine.bounded_lru import ENTRY_BYTES, BoundedLru
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.kept_encodings import KeptEncodings
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.errors import StoppedError
from shimmy_vision.ports.cache_limits import CacheLimits
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import (
    EmbeddingRows,
    EncodedTile,
    MarkupTokens,
    SliceProgress,
)

ANY = Cancellation()
ROWS = np.ones((64, 8), dtype=np.float32)
SIZE = ROWS.nbytes + 8  # and one token


def _tile(value: int) -> RgbPixels:
    return np.full((4, 6, 3), value, dtype=np.uint8)


class _SlowEncoder:
    """Counts its encodes; each waits for ``go`` and for its switch."""

    def __init__(self) -> None:
        self.begun, self.go = 0, threading.Event()
        self.go.set()

    @property
    def grid(self) -> EncoderGrid:
        return EncoderGrid(merge=1)

    def encode(
        self, tile: RgbPixels, *, on_slice: SliceProgress, cancellation: Cancellation
    ) -> EncodedTile:
        self.begun += 1
        with cancellation.when_cancelled(self.go.set):
            assert self.go.wait(60)
        cancellation.check()
        on_slice(1, 1)
        return EncodedTile((MarkupTokens((7,)), EmbeddingRows(ROWS * tile[0, 0, 0])))


def _kept(
    encoder: _SlowEncoder, limit: int = 1_000_000, models: tuple[str, str] = ("m", "p")
) -> KeptEncodings:
    return KeptEncodings(encoder, models, BoundedLru(limit))


def _encode(kept: KeptEncodings, tile: RgbPixels, switch: Cancellation = ANY) -> EncodedTile:
    return kept.encode(tile, on_slice=lambda _done, _all: None, cancellation=switch)


def test_the_second_time_nothing_is_encoded() -> None:
    encoder, told = _SlowEncoder(), list[tuple[int, int]]()
    kept = _kept(encoder)
    first = _encode(kept, _tile(3))
    second = kept.encode(
        _tile(3), on_slice=lambda done, count: told.append((done, count)), cancellation=ANY
    )
    assert (first.kept, second.kept, encoder.begun, told) == (False, True, 1, [(1, 1)])
    assert first.digest == second.digest
    assert first.parts is second.parts
    rows = second.parts[1]
    assert isinstance(rows, EmbeddingRows)
    with pytest.raises(ValueError, match="read-only"):
        rows.rows[0, 0] = 1.0


def test_other_pixels_shapes_and_models_are_others() -> None:
    tiles = _tile(3), _tile(4), _tile(3).reshape(6, 4, 3)
    digests = {_encode(_kept(_SlowEncoder()), tile).digest for tile in tiles}
    for models in (("m", "q"), ("n", "p")):  # markup is in the main model's vocabulary
        digests.add(_encode(_kept(_SlowEncoder(), models=models), _tile(3)).digest)
    assert len(digests) == 5


def test_the_one_used_longest_ago_goes() -> None:
    encoder = _SlowEncoder()
    kept = _kept(encoder, limit=2 * (SIZE + ENTRY_BYTES))
    for value in (1, 2, 1, 3):
        _encode(kept, _tile(value))
    assert [_encode(kept, _tile(value)).kept for value in (1, 3, 2)] == [True, True, False]


def test_without_room_every_tile_has_its_digest_and_nothing_is_kept() -> None:
    encoder = _SlowEncoder()
    kept = _kept(encoder, limit=0)
    tiles = [_encode(kept, _tile(3)) for _ in range(2)]
    assert [tile.kept for tile in tiles] == [False, False]
    assert tiles[0].digest == tiles[1].digest != ""
    assert encoder.begun == 2


def test_two_at_once_encode_once() -> None:
    encoder = _SlowEncoder()
    kept = _kept(encoder)
    encoder.go.clear()
    callers = [Background(lambda: _encode(kept, _tile(5))) for _ in range(3)]
    until(lambda: encoder.begun == 1 and kept.turns.callers == 3)
    encoder.go.set()
    tiles = [caller.result() for caller in callers]
    assert sorted(tile.kept for tile in tiles) == [False, True, True]
    assert encoder.begun == 1
    assert kept.turns.callers == 0


def test_who_waits_takes_over_from_one_that_is_cancelled() -> None:
    encoder, leaders = _SlowEncoder(), Cancellation()
    kept = _kept(encoder)
    encoder.go.clear()
    leader = Background(lambda: _encode(kept, _tile(5), leaders))
    until(lambda: encoder.begun == 1)
    follower = Background(lambda: _encode(kept, _tile(5)))
    until(lambda: kept.turns.callers == 2)
    leaders.cancel("interrupted")
    with pytest.raises(StoppedError):
        leader.result()
    assert follower.result().kept is False
    assert (encoder.begun, kept.turns.callers) == (2, 0)


def test_who_is_cancelled_while_waiting_leaves_at_once() -> None:
    encoder, switch = _SlowEncoder(), Cancellation()
    kept = _kept(encoder)
    encoder.go.clear()
    leader = Background(lambda: _encode(kept, _tile(5)))
    until(lambda: encoder.begun == 1)
    follower = Background(lambda: _encode(kept, _tile(5), switch))
    until(lambda: kept.turns.callers == 2)
    switch.cancel("deadline")
    with pytest.raises(StoppedError):
        follower.result()
    assert leader.running
    encoder.go.set()
    assert leader.result().kept is False


def test_several_images_at_once_are_encoded_as_alone(
    synthetic_26: SyntheticPair, open_engine: Callable[..., LlamaEngine]
) -> None:
    """The real encoder, whose buffer of rows the next slice overwrites; bit for bit."""
    caches = EngineCaches(CacheLimits(encodings_bytes=50_000_000))
    plain, keeping = (
        open_engine(synthetic_26, "2.6"),
        open_engine(synthetic_26, "2.6", caches=caches),
    )
    rng = np.random.default_rng(5)
    images = [rng.integers(0, 256, (500, 700, 3), dtype=np.uint8) for _ in range(4)]

    def encode(engine: LlamaEngine, image: RgbPixels) -> EncodedTile:
        return engine.encoder.encode(image, on_slice=lambda *_: None, cancellation=ANY)

    alone = [encode(plain, image) for image in images]
    callers = [Background(lambda image=image: encode(keeping, image)) for image in images * 2]  # type: ignore[misc]
    for number, caller in enumerate(callers):
        for one, other in zip(caller.result().parts, alone[number % 4].parts, strict=True):
            if isinstance(one, EmbeddingRows) and isinstance(other, EmbeddingRows):
                np.testing.assert_array_equal(one.rows, other.rows)
            else:
                assert one == other
    counters, gauges = caches.numbers()
    slices = sum(isinstance(part, EmbeddingRows) for tile in alone for part in tile.parts)
    assert counters["encoded_slices"] == slices
    assert (counters["image_cache_hits"], counters["image_cache_misses"]) == (4, 4)
    assert gauges["image_cache_bytes"] > 0
    assert alone[0].digest == ""
    for engine in (plain, keeping):
        engine.close()
