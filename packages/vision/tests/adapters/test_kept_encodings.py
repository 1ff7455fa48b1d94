"""No slice is encoded twice while its rows are kept, also when two ask at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from threads import Background, until

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine.bounded_lru import ENTRY_BYTES
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.kept_encodings import KeptEncodings
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.slice_encoder import RowsOf
from shimmy_vision.adapters.engine.slice_pixels import CutTile
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.image.slice_grid import EncoderGrid
from shimmy_vision.domain.image.slice_sharing import SliceCount, SliceView
from shimmy_vision.errors import StoppedError
from shimmy_vision.ports.cache_limits import CacheLimits
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EmbeddingRows, EncodedTile, MarkupTokens

ANY = Cancellation()
ROWS = np.ones((64, 8), dtype=np.float32)


def _tile(value: int) -> RgbPixels:
    return np.full((4, 6, 3), value, dtype=np.uint8)


def _screen(changed: int | None = None) -> RgbPixels:
    """1280 x 720, seven slices; noise, of which the slice of number ``changed`` is another."""
    screen = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    if changed is not None:
        line, column = divmod(changed, 3)
        screen[line * 360 + 100 : line * 360 + 200, column * 426 + 100 : column * 426 + 300] = 9
    return screen


class _SlowEncoder:
    """Counts its slices; each waits for ``go`` and for its switch."""

    def __init__(self) -> None:
        self.begun, self.go = 0, threading.Event()
        self.go.set()

    @property
    def grid(self) -> EncoderGrid:
        return EncoderGrid(merge=1)

    def encode_slices(
        self, tile: CutTile, rows_of: RowsOf, cancellation: Cancellation
    ) -> tuple[MarkupTokens | EmbeddingRows, ...]:
        def encode(piece: RgbPixels) -> EmbeddingRows:
            self.begun += 1
            with cancellation.when_cancelled(self.go.set):
                assert self.go.wait(60)
            cancellation.check()
            return EmbeddingRows(ROWS * piece.astype(np.float32).mean())

        parts: list[MarkupTokens | EmbeddingRows] = []
        for number, piece in enumerate(tile.pieces):
            rows = rows_of(number, lambda piece=piece: encode(piece))  # type: ignore[misc]
            parts.extend((MarkupTokens((7,)), rows))
        return tuple(parts)


def _kept(
    encoder: _SlowEncoder, limit: int = 1_000_000, models: tuple[str, str] = ("m", "p")
) -> KeptEncodings:
    return KeptEncodings(encoder, models, EngineCaches(CacheLimits(limit, 1000)))


def _encode(
    kept: KeptEncodings,
    tile: RgbPixels,
    switch: Cancellation = ANY,
    view: SliceView = "whole",
) -> EncodedTile:
    return kept.encode(tile, on_slice=lambda _done, _all: None, cancellation=switch, view=view)


def _rows(tile: EncodedTile) -> list[EmbeddingRows]:
    return [part for part in tile.parts if isinstance(part, EmbeddingRows)]


def test_the_second_time_nothing_is_encoded() -> None:
    encoder, told = _SlowEncoder(), list[tuple[int, int]]()
    kept = _kept(encoder)
    first = _encode(kept, _tile(3))
    second = kept.encode(
        _tile(3), on_slice=lambda done, count: told.append((done, count)), cancellation=ANY
    )
    assert (first.kept, second.kept, encoder.begun, told) == (False, True, 1, [(1, 1)])
    assert first.digest == second.digest
    assert (first.count, second.count) == (SliceCount(1, 1), SliceCount(1, 0, 1))
    assert _rows(first)[0] is _rows(second)[0]
    with pytest.raises(ValueError, match="read-only"):
        _rows(second)[0].rows[0, 0] = 1.0


def test_other_pixels_shapes_views_and_models_are_others() -> None:
    tiles = _tile(3), _tile(4), _tile(3).reshape(6, 4, 3)
    digests = {_encode(_kept(_SlowEncoder()), tile).digest for tile in tiles}
    digests.add(_encode(_kept(_SlowEncoder()), _tile(3), view="overview").digest)
    for models in (("m", "q"), ("n", "p")):  # markup is in the main model's vocabulary
        digests.add(_encode(_kept(_SlowEncoder(), models=models), _tile(3)).digest)
    assert len(digests) == 6


@pytest.mark.parametrize("changed", range(6))
def test_a_screenshot_that_changed_in_one_slice_encodes_that_slice_and_the_overview(
    changed: int,
) -> None:
    encoder = _SlowEncoder()
    kept = _kept(encoder)
    assert _encode(kept, _screen()).count == SliceCount(7, 7)
    assert _encode(kept, _screen(changed)).count == SliceCount(7, 2, 5)
    assert encoder.begun == 9
    assert _encode(kept, _screen()).kept


def test_slices_of_equal_pixels_in_one_image_are_encoded_once_though_nothing_is_kept() -> None:
    encoder = _SlowEncoder()
    kept = KeptEncodings(encoder, ("m", "p"), EngineCaches())
    tile = _encode(kept, np.tile(_screen()[:448, :448], (2, 3, 1)))
    assert (tile.count, encoder.begun, tile.digest) == (SliceCount(7, 2, 5), 2, "")
    assert len({id(rows) for rows in _rows(tile)}) == 2


def test_soft_ground_is_seen_as_its_like_where_that_is_wished() -> None:
    """Three columns of a gradient too slow to see; none of them has quite the same pixels."""
    screen = _screen()
    screen[300:] = (np.arange(1280) // 600)[None, :, None] + 240
    counts = [_encode(_kept(_SlowEncoder()), screen, view=view).count for view in _VIEWS]
    assert counts == [SliceCount(7, 7), SliceCount(7, 5, 0, 2), SliceCount(7, 1, 0, 6)]
    kept = _kept(_SlowEncoder())
    first, again = (_encode(kept, screen, view="sparing") for _ in range(2))
    assert [id(rows) for rows in _rows(first)] == [id(rows) for rows in _rows(again)]
    assert again.count == SliceCount(7, 0, 5, 2)
    slices = _rows(first)[4:]
    assert slices[0] is slices[1] is slices[2]


_VIEWS: tuple[SliceView, ...] = ("whole", "sparing", "overview")


def test_the_one_used_longest_ago_goes() -> None:
    encoder = _SlowEncoder()
    # A sixteenth is for knowing which tile is made of which.
    kept = _kept(encoder, limit=2 * (ROWS.nbytes + ENTRY_BYTES) * 16 // 15 + 1)
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
    assert (counters["image_cache_hits"], counters["image_cache_misses"]) == (slices, slices)
    assert gauges["image_cache_bytes"] > 0
    assert alone[0].digest == ""
    for engine in (plain, keeping):
        engine.close()


@pytest.fixture(scope="module")
def keeping(engine: LlamaEngine) -> Iterator[KeptEncodings]:
    yield KeptEncodings(engine._encoder, ("m", "p"), EngineCaches(CacheLimits(50_000_000)))


def test_what_is_put_together_from_kept_slices_is_what_encoding_gives(
    engine: LlamaEngine, keeping: KeptEncodings
) -> None:
    """Of the real encoder, in both layouts, bit for bit."""
    before = _screen()[:300, :460]
    after = before.copy()
    after[100:200, 300:400] = 9
    _encode(keeping, before)
    together = _encode(keeping, after)
    fresh = engine.encoder.encode(after, on_slice=lambda *_: None, cancellation=ANY)
    assert (together.count, fresh.count) == (SliceCount(3, 2, 1), SliceCount(3, 3))
    _assert_equal(together, fresh)


def test_an_overview_alone_is_what_an_image_without_slices_is(
    engine: LlamaEngine, keeping: KeptEncodings
) -> None:
    """Its rows are those of the whole image's overview, its markup that of a small image."""
    screen = _screen()[:300, :460]
    whole, seen = (_encode(keeping, screen, view=view) for view in ("whole", "overview"))
    small = engine.encoder.encode(_tile(9), on_slice=lambda *_: None, cancellation=ANY)
    assert [p for p in seen.parts if isinstance(p, MarkupTokens)] == [
        p for p in small.parts if isinstance(p, MarkupTokens)
    ]
    np.testing.assert_array_equal(_rows(seen)[0].rows, _rows(whole)[0].rows)
    assert seen.count == SliceCount(3, 0, 1, 2)


def _assert_equal(ours: EncodedTile, theirs: EncodedTile) -> None:
    for one, other in zip(ours.parts, theirs.parts, strict=True):
        if isinstance(one, EmbeddingRows) and isinstance(other, EmbeddingRows):
            np.testing.assert_array_equal(one.rows, other.rows)
        else:
            assert one == other
