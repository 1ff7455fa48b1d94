"""The real library on synthetic pairs: equality with libmtmd, lifetimes, stopping."""

from __future__ import annotations

import ctypes
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shimmy_sandbox.synthetic_model import (
    Encoder,
    Layout,
    SyntheticPair,
    write_synthetic_pair,
)
from shimmy_vision.adapters.engine.llama_bindings import llama_pos
from shimmy_vision.adapters.engine.llama_context import BatchPart
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llama_library import AbortFlag, open_native_library
from shimmy_vision.adapters.engine.llama_sequence import LlamaSequence
from shimmy_vision.adapters.engine.mtmd_encoder import MtmdEncoder
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.errors import DeadlineError, LibraryError, ModelError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions
from shimmy_vision.ports.image_encoder import EmbeddingRows, EncodedTile, MarkupTokens
from shimmy_vision.ports.language_model import LanguageModel

ANY = Cancellation()
OpenEngine = Callable[..., LlamaEngine]
Scores = NDArray[np.float32]


def _noise(width: int, height: int) -> RgbPixels:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _encode(engine: LlamaEngine, image: RgbPixels) -> EncodedTile:
    return engine.encoder.encode(image, on_slice=lambda _done, _all: None, cancellation=ANY)


def _feed(model: LanguageModel, tile: EncodedTile) -> None:
    for part in tile.parts:
        match part:
            case MarkupTokens(tokens=tokens):
                model.evaluate_tokens(list(tokens), ANY)
            case EmbeddingRows():
                model.evaluate_rows(part, ANY)


@pytest.fixture
def model(engine: LlamaEngine) -> Iterator[LlamaSequence]:
    with engine.sequence(ANY) as lent:
        yield lent


def test_rows_fed_by_us_give_libmtmds_own_scores(engine: LlamaEngine, model: LlamaSequence) -> None:
    """libmtmd's helper decodes the same image; the scores afterwards must be equal."""
    image, encoder = _noise(900, 700), engine._encoder
    assert isinstance(encoder, MtmdEncoder)
    opening, closing = (model.tokenize(text, special=True) for text in ("<|im_start|>a", "b"))
    model.reset()
    model.evaluate_tokens(opening, ANY)
    _feed(model, _encode(engine, image))
    model.evaluate_tokens(closing, ANY)
    ours, position = model.logits().copy(), model.position

    c, chunks = encoder._library.c, encoder._cut(image)
    model.reset()
    model.evaluate_tokens(opening, ANY)
    for index in range(c.mtmd_input_chunks_size(chunks)):
        chunk = c.mtmd_input_chunks_get(chunks, index)
        if encoder._is_text(chunk):
            model.evaluate_tokens(list(encoder._markup(chunk).tokens), ANY)
            continue
        assert c.mtmd_encode_chunk(encoder.pointer, chunk) == 0
        rows, after = c.mtmd_get_output_embd(encoder.pointer), llama_pos()
        status = c.mtmd_helper_decode_image_chunk(
            encoder.pointer, engine._context.pointer, chunk, rows,
            model.position, model.number, 512, ctypes.byref(after), None, None,
        )  # fmt: skip
        assert status == 0
        model._position = after.value
    c.mtmd_input_chunks_free(chunks)
    model.evaluate_tokens(closing, ANY)
    assert model.position == position == engine._context.held(model.number)
    np.testing.assert_array_equal(ours, model.logits())


def test_slices_are_counted_as_planned(engine: LlamaEngine) -> None:
    from shimmy_vision.domain.image.slice_grid import plan_slices

    seen: list[tuple[int, int]] = []
    tile = engine.encoder.encode(
        _noise(1280, 720), on_slice=lambda done, total: seen.append((done, total)), cancellation=ANY
    )
    encodes = plan_slices(1280, 720, engine.encoder.grid).encodes
    assert seen == [(number, encodes) for number in range(1, encodes + 1)]
    assert sum(isinstance(part, EmbeddingRows) for part in tile.parts) == encodes
    assert all(np.isfinite(p.rows).all() for p in tile.parts if isinstance(p, EmbeddingRows))


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (30, 9000), (449, 448)])
def test_extreme_shapes_are_encoded(engine: LlamaEngine, size: tuple[int, int]) -> None:
    tile = _encode(engine, _noise(*size))
    assert any(isinstance(part, EmbeddingRows) for part in tile.parts)


def test_encoding_is_deterministic(engine: LlamaEngine) -> None:
    first, second = (_encode(engine, _noise(600, 500)) for _ in range(2))
    for one, other in zip(first.parts, second.parts, strict=True):
        if isinstance(one, EmbeddingRows) and isinstance(other, EmbeddingRows):
            np.testing.assert_array_equal(one.rows, other.rows)


def test_a_batch_of_tokens_equals_one_at_a_time(model: LlamaSequence) -> None:
    tokens = model.tokenize("the same words in any batch", special=False)
    model.evaluate_tokens(tokens, ANY)
    together = model.logits().copy()
    assert model.forward_passes == 1
    model.reset()
    for token in tokens:
        model.evaluate_tokens([token], ANY)
    assert model.forward_passes == len(tokens)
    np.testing.assert_allclose(together, model.logits(), atol=2e-2, rtol=1e-2)


def test_the_callers_words_are_never_control_tokens(model: LlamaSequence) -> None:
    special = model.tokenize("<|im_end|>", special=True)
    plain = model.tokenize("<|im_end|>", special=False)
    assert len(special) == 1
    assert len(plain) == len("<|im_end|>")
    assert model.is_end(special[0])
    assert model.token_bytes(special[0]) == b""
    assert b"".join(model.token_bytes(t) for t in plain) == b"<|im_end|>"


def test_a_full_context_is_an_error_not_a_crash(
    synthetic_26: SyntheticPair, open_engine: OpenEngine
) -> None:
    engine = open_engine(synthetic_26, "2.6", context=256)
    with engine.sequence(ANY) as model:
        with pytest.raises(LibraryError) as refused:
            model.evaluate_tokens([65] * 400, ANY)
        model.evaluate_tokens([65] * model.context_size, ANY)
    assert refused.value.code == "context-full"
    engine.close()


def test_a_thrown_switch_stops_before_and_during_work(
    engine: LlamaEngine, model: LlamaSequence
) -> None:
    thrown = Cancellation()
    thrown.cancel("interrupted")
    with pytest.raises(StoppedError):
        model.evaluate_tokens([65], thrown)
    with pytest.raises(StoppedError):
        engine.encoder.encode(_noise(50, 50), on_slice=lambda *_: None, cancellation=thrown)
    model.reset()
    model.evaluate_tokens([65], ANY)
    assert np.isfinite(model.logits()).all()


def _seconds_to_stop(work: Callable[[Cancellation], object], after: float) -> float:
    """Repeat ``work`` until a switch thrown ``after`` seconds stops it: how long that took.

    The best of three, because other tests may hold both cores when the switch is thrown.
    """
    best = float("inf")
    for _ in range(3):
        switch, thrown_at = Cancellation(), [0.0]

        def throw(switch: Cancellation = switch, thrown_at: list[float] = thrown_at) -> None:
            thrown_at[0] = time.perf_counter()
            switch.cancel("deadline")

        timer = threading.Timer(after, throw)
        timer.start()
        with pytest.raises(DeadlineError):
            while True:
                work(switch)
        best = min(best, time.perf_counter() - thrown_at[0])
        timer.join()
    return best


@pytest.mark.parametrize("layout", ["2.6", "4.6"])
def test_encoding_stops_within_200_ms_in_the_middle_of_a_slice(
    layout: Layout, tmp_path: Path, open_engine: OpenEngine
) -> None:
    """A projector as slow as a real one: one slice takes far longer than stopping may."""
    encoder = Encoder(40 if layout == "2.6" else 120, 896)
    slow = open_engine(write_synthetic_pair(tmp_path, layout, encoder=encoder), layout)
    started = time.perf_counter()
    whole = _encode(slow, _noise(60, 60))
    seconds = time.perf_counter() - started

    def encode(switch: Cancellation) -> None:
        slow.encoder.encode(_noise(60, 60), on_slice=lambda *_: None, cancellation=switch)

    # Whoever goes on to the slice's end takes three quarters of it, on a fast machine as on a slow.
    bound = min(max(0.2, seconds / 8), seconds / 2)
    assert _seconds_to_stop(encode, seconds / 4) < bound
    again = _encode(slow, _noise(60, 60))
    for one, other in zip(whole.parts, again.parts, strict=True):
        if isinstance(one, EmbeddingRows) and isinstance(other, EmbeddingRows):
            np.testing.assert_array_equal(one.rows, other.rows)
    slow.close()


def test_decoding_stops_in_the_middle_of_a_prompt_and_works_again(
    engine: LlamaEngine, model: LlamaSequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in steps, of which a whole prompt takes eight: together they take 150 ms."""
    decode, steps, switch = engine._context.decode, list[int](), Cancellation()

    def noting(parts: Sequence[BatchPart]) -> list[Scores | None]:
        steps.append(len(parts[0].content))
        if len(steps) == 2:
            switch.cancel("deadline")
        return decode(parts)

    monkeypatch.setattr(engine._context, "decode", noting)
    taken = list[int]()
    # The best of three, because whoever waits may be woken late where others hold both cores.
    for _ in range(3):
        model.reset()
        with pytest.raises(DeadlineError):
            model.evaluate_tokens([65] * 4000, switch)
        taken.append(sum(steps))
        steps.clear()
        switch = Cancellation()
    assert 1000 < min(taken) < 3000
    model.reset()
    model.evaluate_tokens([65], ANY)
    assert np.isfinite(model.logits()).all()


def test_the_abort_flag_is_what_c_reads() -> None:
    flag = AbortFlag()
    kind = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p)
    assert flag.callback_address is not None
    poll = kind(flag.callback_address)
    assert [poll(flag.data_address), flag.is_set] == [False, False]
    flag.set()
    assert [poll(flag.data_address), flag.is_set] == [True, True]
    flag.clear()
    assert poll(flag.data_address) is False


def test_everything_is_freed_once(synthetic_46: SyntheticPair, open_engine: OpenEngine) -> None:
    engine = open_engine(synthetic_46, "4.6", context=512)
    assert isinstance(engine._encoder, MtmdEncoder)
    parts = engine._weights, engine._context, engine._encoder, engine._turns
    engine.close()
    engine.close()
    assert [part.close.alive for part in parts] == [False] * 4


def test_dropping_the_engine_frees_it(synthetic_26: SyntheticPair, open_engine: OpenEngine) -> None:
    engine = open_engine(synthetic_26, "2.6", context=512)
    with engine.sequence(ANY) as model:
        model.evaluate_tokens([65], ANY)
    assert isinstance(engine._encoder, MtmdEncoder)
    parts = engine._weights, engine._context, engine._encoder, engine._turns
    watched, ended = [weakref.ref(part) for part in parts], engine._turns.close
    del engine, model, parts
    gc.collect()
    assert [ref() for ref in watched] == [None] * 4
    assert not ended.alive


def test_files_that_llama_refuses_are_errors_with_its_reason(
    synthetic_26: SyntheticPair,
    synthetic_46: SyntheticPair,
    library_directory: Path,
    tmp_path: Path,
) -> None:
    nothing = tmp_path / "nothing.gguf"
    nothing.write_bytes(b"GGUF" + b"\0" * 60)
    options = EngineOptions(1, 0, 256)
    with pytest.raises(ModelError) as refused:
        LlamaEngine(library_directory, EngineFiles(nothing, nothing, "2.6", True, "", ""), options)
    assert refused.value.code == "model-load-failed"
    assert "no reason given" not in refused.value.message
    mixed = EngineFiles(synthetic_26.main, synthetic_46.projector, "2.6", True, "", "")
    with pytest.raises(ModelError) as refused:
        LlamaEngine(library_directory, mixed, options)
    assert refused.value.code == "projector-load-failed"


def test_a_missing_or_broken_library_is_an_error(tmp_path: Path, library_directory: Path) -> None:
    with pytest.raises(LibraryError) as refused:
        open_native_library(tmp_path / "nowhere")
    assert refused.value.code == "library-missing"
    for file in library_directory.iterdir():
        (tmp_path / file.name).write_bytes(b"\x7fELF not a library")
    with pytest.raises(LibraryError) as refused:
        open_native_library(tmp_path)
    assert refused.value.code == "library-load-failed"
    assert refused.value.hint
