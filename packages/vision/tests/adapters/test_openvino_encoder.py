"""OpenVINO encodes as libmtmd does: the same parts, rows alike, and libmtmd where it cannot."""

from __future__ import annotations

import platform
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import gguf
import numpy as np
import psutil
import pytest
from rewritten_files import rewrite_file

from shimmy_sandbox.synthetic_model import Encoder, SyntheticPair, write_synthetic_pair
from shimmy_vision.adapters.engine import encoder_opening
from shimmy_vision.adapters.engine.compiled_projectors import CompiledProjectors
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.openvino_graph import build_graph
from shimmy_vision.adapters.engine.openvino_library import open_openvino
from shimmy_vision.adapters.engine.projector_tensors import ProjectorTensors
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.domain.model.encoder_choice import HELD, Precision, native_precisions
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.projector_shape import ProjectorShape, read_projector_shape
from shimmy_vision.errors import LibraryError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EncoderOrder, EngineFiles, EngineOptions
from shimmy_vision.ports.image_encoder import EmbeddingRows, EncodedTile, MarkupTokens

# Landscape, portrait, tiny, one slice exactly, a strip, and as many slices as there can be.
SIZES = [(1280, 720), (300, 900), (10, 7), (448, 448), (449, 30), (1400, 1400)]
# bf16 is computed on any x86-64, natively or not; f16 on arm64.
PRECISIONS: tuple[Precision, ...] = (
    ("f32", "f16") if platform.machine() in {"arm64", "aarch64"} else ("f32", "bf16")
)
Open = Callable[..., LlamaEngine]


@pytest.fixture(scope="module", params=["2.6", "4.6"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    folder = tmp_path_factory.mktemp(f"pair-{request.param}")
    return write_synthetic_pair(folder, request.param, encoder=Encoder(layers=2))


@pytest.fixture(scope="module")
def open_with(library_directory: Path) -> Open:
    def opened(pair: SyntheticPair, wish: str, precision: Precision | None = None) -> LlamaEngine:
        family: ModelFamily = "2.6" if "2.6" in pair.main.name else "4.6"
        files = EngineFiles(pair.main, pair.projector, family, True, "m" * 64, "p" * 64)
        order = EncoderOrder("openvino" if wish == "openvino" else "auto", precision)
        order = EncoderOrder("mtmd") if wish == "mtmd" else order
        return LlamaEngine(library_directory, files, EngineOptions(2, 0, 512, 1, order))

    return opened


@pytest.fixture(scope="module")
def by_libmtmd(pair: SyntheticPair, open_with: Open) -> Iterator[Callable[..., EncodedTile]]:
    """libmtmd's encoding of noise of some size; each is made once."""
    engine = open_with(pair, "mtmd")
    yield cache(lambda width, height: _encode(engine, _noise(width, height)))
    engine.close()


@pytest.fixture(scope="module", params=PRECISIONS)
def by_openvino(
    request: pytest.FixtureRequest, pair: SyntheticPair, open_with: Open
) -> Iterator[tuple[LlamaEngine, float]]:
    if request.param not in native_precisions(open_openvino().capabilities):
        pytest.skip(f"this CPU does not compute {request.param}")
    engine = open_with(pair, "openvino", request.param)
    assert engine.description.encoder.endswith(request.param)
    yield engine, HELD[request.param]
    engine.close()


def _noise(width: int, height: int) -> RgbPixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _encode(engine: LlamaEngine, tile: RgbPixels) -> EncodedTile:
    return engine.encoder.encode(
        tile, on_slice=lambda _done, _all: None, cancellation=Cancellation()
    )


def _least_cosine(ours: EncodedTile, theirs: EncodedTile) -> float:
    """Over all rows, after everything else was held equal."""
    least = 1.0
    assert len(ours.parts) == len(theirs.parts)
    for our, their in zip(ours.parts, theirs.parts, strict=True):
        if isinstance(their, MarkupTokens):
            assert our == their
            continue
        assert isinstance(our, EmbeddingRows)
        assert our.rows.dtype == their.rows.dtype
        assert our.rows.shape == their.rows.shape
        lengths = np.linalg.norm(our.rows, axis=1) * np.linalg.norm(their.rows, axis=1)
        least = min(least, float(((our.rows * their.rows).sum(axis=1) / lengths).min()))
    return least


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_rows_and_markup_are_libmtmds(
    size: tuple[int, int],
    by_openvino: tuple[LlamaEngine, float],
    by_libmtmd: Callable[..., EncodedTile],
) -> None:
    engine, bound = by_openvino
    assert _least_cosine(_encode(engine, _noise(*size)), by_libmtmd(*size)) >= bound


def test_a_file_that_calls_its_feed_forward_the_other_way_round_encodes_the_same(
    tmp_path: Path, open_with: Open
) -> None:
    plain = write_synthetic_pair(tmp_path, "2.6")
    swapped = SyntheticPair(plain.main, tmp_path / "mmproj-swapped.gguf")
    names = {"ffn_up": "ffn_down", "ffn_down": "ffn_up"}
    _rewrite(plain.projector, swapped.projector, names)
    encoded = []
    for pair, wish in ((plain, "openvino"), (swapped, "openvino"), (swapped, "mtmd")):
        engine = open_with(pair, wish, "f32" if wish == "openvino" else None)
        encoded.append(_encode(engine, _noise(448, 448)))
        engine.close()
    assert _least_cosine(encoded[0], encoded[1]) >= 0.999999
    assert _least_cosine(encoded[1], encoded[2]) >= HELD["f32"]


def _rewrite(source: Path, target: Path, names: dict[str, str], extra: str = "") -> None:
    """The same projector with parts of its tensors' names exchanged, and one tensor more."""
    reader, writer = gguf.GGUFReader(source), gguf.GGUFWriter(str(target), "clip")
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.architecture")):
            kind = field.types[0]
            inner = field.types[1] if kind == gguf.GGUFValueType.ARRAY else None
            writer.add_key_value(field.name, field.contents(), kind, inner)
    for tensor in reader.tensors:
        stem = tensor.name.rsplit(".", 2)[-2]
        name = tensor.name.replace(stem, names.get(stem, stem))
        writer.add_tensor(name, np.array(tensor.data))
    if extra:
        writer.add_tensor(extra, np.ones(64, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_projector_with_parts_unknown_here_is_left_to_libmtmd(
    tmp_path: Path, open_with: Open
) -> None:
    plain = write_synthetic_pair(tmp_path, "2.6")
    odd = SyntheticPair(plain.main, tmp_path / "mmproj-odd.gguf")
    _rewrite(plain.projector, odd.projector, {}, extra="v.pre_ln.weight")
    engine = open_with(odd, "auto")
    assert engine.description.encoder == "libmtmd"
    assert "v.pre_ln.weight" in engine.description.encoder_fallback
    engine.close()
    with pytest.raises(LibraryError) as refused:
        open_with(odd, "openvino")
    assert refused.value.code == "openvino-unusable"
    assert "SHIMMY_ENCODER=auto" in refused.value.hint


def test_without_openvino_libmtmd_encodes_and_says_so(
    synthetic_26: SyntheticPair, open_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    open_openvino.cache_clear()
    try:
        engine = open_with(synthetic_26, "auto")
        assert engine.description.encoder == "libmtmd"
        assert engine.description.encoder_fallback == "OpenVINO is not installed."
        assert _encode(engine, _noise(20, 20)).parts
        engine.close()
        with pytest.raises(LibraryError, match="not installed"):
            open_with(synthetic_26, "openvino")
    finally:
        open_openvino.cache_clear()


def test_an_openvino_that_raises_is_replaced(
    synthetic_46: SyntheticPair, open_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise RuntimeError("Exception from src/plugin.cpp:1:\nno such kernel")

    monkeypatch.setattr(encoder_opening, "build_graph", refuse)
    engine = open_with(synthetic_46, "auto")
    assert engine.description.encoder == "libmtmd"
    assert "no such kernel" in engine.description.encoder_fallback
    engine.close()


def test_nothing_of_openvino_tells_anybody_anything() -> None:
    open_openvino()
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
    assert "openvino.tools.ovc" not in sys.modules


def _kept_shape(pair: SyntheticPair) -> tuple[ProjectorTensors, ProjectorShape]:
    tensors = ProjectorTensors(pair.projector)
    shape = read_projector_shape(tensors.header)
    assert isinstance(shape, ProjectorShape)
    return tensors, shape


def test_a_compiled_projector_is_kept_and_a_damaged_one_made_again(
    synthetic_26: SyntheticPair, tmp_path: Path
) -> None:
    openvino, built = open_openvino(), []
    tensors, shape = _kept_shape(synthetic_26)

    def opened(digest: str = "a" * 64, precision: Precision = "f32") -> bool:
        def build() -> object:
            built.append(digest)
            return build_graph(openvino, tensors, shape, precision)

        return CompiledProjectors(openvino, tmp_path, 2).open(digest, precision, build).kept  # type: ignore[arg-type]

    assert opened()
    assert opened()
    assert len(built) == 1
    (blob,) = tmp_path.glob("*.blob")
    whole = blob.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for damaged in (whole[:-1], flipped, b""):
        rewrite_file(blob, damaged)
        assert opened()
    assert len(built) == 4
    # Only touched: read in whole, found sound, not made again.
    whole = blob.read_bytes()
    rewrite_file(blob, whole)
    assert opened()
    assert len(built) == 4
    # Another projector or precision has a file of its own, and not many stay.
    for number in range(3):
        opened(str(number) * 64)
    assert len(list(tmp_path.glob("*.blob"))) == 2
    assert not list(tmp_path.glob(".*"))


def test_where_nothing_can_be_kept_it_is_compiled_each_time(
    synthetic_26: SyntheticPair, tmp_path: Path
) -> None:
    openvino = open_openvino()
    tensors, shape = _kept_shape(synthetic_26)
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    for folder in (blocked, None):
        opened = CompiledProjectors(openvino, folder, 2).open(
            "a" * 64, "f32", lambda: build_graph(openvino, tensors, shape, "f32")
        )
        assert not opened.kept


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory, open_with: Open) -> Iterator[LlamaEngine]:
    """A slice takes long enough to be stopped in its middle."""
    encoder = Encoder(layers=24, slice_size=896)
    pair = write_synthetic_pair(tmp_path_factory.mktemp("slow"), "2.6", encoder=encoder)
    engine = open_with(pair, "openvino", "f32")
    yield engine
    engine.close()


def test_a_slice_under_way_stops_and_the_next_one_is_whole(slow: LlamaEngine) -> None:
    tile = _noise(1000, 890)
    whole = _encode(slow, tile)
    begun = list[float]()
    slow.encoder.encode(
        tile, on_slice=lambda *_: begun.append(time.perf_counter()), cancellation=Cancellation()
    )
    # Of the slice in whose beginning the switch is thrown.
    seconds = begun[1] - begun[0]

    def seconds_to_stop() -> float:
        switch, stopped = Cancellation(), []

        def stop() -> None:
            stopped.append(time.perf_counter())
            switch.cancel("interrupted")

        timer = threading.Timer(seconds / 20, stop)
        with pytest.raises(StoppedError):
            slow.encoder.encode(
                tile,
                on_slice=lambda done, _all: timer.start() if done == 1 else None,
                cancellation=switch,
            )
        timer.join()
        return time.perf_counter() - stopped[0]

    # 25 ms of 450 on a machine of its own; whoever goes on to the slice's end takes nearly all.
    # Once in three, because the cores are shared with other tests.
    assert any(seconds_to_stop() < seconds / 2 for _ in range(3))
    assert _least_cosine(_encode(slow, tile), whole) >= 0.999999


def test_memory_stays_as_it_is_over_many_tiles(by_openvino: tuple[LlamaEngine, float]) -> None:
    engine, _bound = by_openvino
    process, grown = psutil.Process(), []
    sizes = [(449, 120), (60, 700), (300, 500)]
    for _ in range(3):
        for size in sizes:
            _encode(engine, _noise(*size))
        grown.append(process.memory_info().rss)
    assert grown[-1] - grown[0] < 40_000_000
