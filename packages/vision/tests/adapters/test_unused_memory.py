"""What is held without being used goes back, and nothing is lost by it."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine import compute_turns, unused_memory
from shimmy_vision.adapters.engine.compute_turns import ComputeTurns
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.llama_context import LlamaContext
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llama_model import ComputeOptions
from shimmy_vision.adapters.engine.unused_memory import SequenceMemory, forget_file_pages
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.cache_limits import CacheLimits
from shimmy_vision.ports.cancellation import Cancellation

ANY = Cancellation()
OpenEngine = Callable[..., LlamaEngine]
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="what /proc and madvise tell")


def _own_bytes() -> int:
    """Resident memory of no file."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def _scores(engine: LlamaEngine, words: str) -> NDArray[np.float32]:
    with engine.sequence(ANY) as model:
        model.reset()
        model.evaluate_tokens(model.tokenize(words, special=False), ANY)
        return model.logits().copy()


@linux_only
@pytest.mark.parametrize("family", ["2.6", "4.6"])
def test_room_for_answers_takes_no_memory_before_they_are_written(
    family: str, request: pytest.FixtureRequest, open_engine: OpenEngine
) -> None:
    pair: SyntheticPair = request.getfixturevalue(f"synthetic_{family.replace('.', '')}")
    before = _own_bytes()
    engine = open_engine(pair, family, context=131_072, sequences=4)
    try:
        reserved = engine._context._reserved.size
        assert reserved > 120_000_000, "llama.cpp's memory for sequences was not recognised"
        assert _own_bytes() - before < reserved / 2
    finally:
        engine.close()


def test_an_engine_that_rested_answers_as_before(engine: LlamaEngine) -> None:
    asked = ["what is this?", "and what is that?"]
    before = [_scores(engine, words) for words in asked]
    for words, scores in zip(asked, before, strict=True):
        engine._turns.errand(engine.rest, ANY)
        assert np.array_equal(_scores(engine, words), scores)


def test_what_was_remembered_before_a_rest_is_recalled_whole(
    synthetic_46: SyntheticPair, open_engine: OpenEngine
) -> None:
    engine = open_engine(synthetic_46, "4.6", caches=EngineCaches(CacheLimits(0, 50_000_000)))
    try:
        with engine.sequence(ANY) as model:
            words = model.tokenize("one two three", special=False)
            model.evaluate_tokens(words, ANY)
            model.remember("words", ANY)
            model.evaluate_tokens(words, ANY)
            undisturbed = model.logits().copy()
        assert engine._turns.errand(engine.rest, ANY)
        with engine.sequence(ANY) as model:
            assert model.recall("words", ANY)
            model.evaluate_tokens(words, ANY)
            assert np.array_equal(model.logits(), undisturbed)
    finally:
        engine.close()


def test_an_engine_does_not_rest_under_an_answer(engine: LlamaEngine) -> None:
    with engine.sequence(ANY) as model:
        words = model.tokenize("one two three", special=False)
        model.reset()
        model.evaluate_tokens(words, ANY)
        model.evaluate_tokens(words, ANY)
        undisturbed = model.logits().copy()
        model.reset()
        model.evaluate_tokens(words, ANY)
        assert not engine._turns.errand(engine.rest, ANY)
        model.evaluate_tokens(words, ANY)
        assert np.array_equal(model.logits(), undisturbed)


@linux_only
def test_pages_of_a_file_come_again(tmp_path: Path) -> None:
    file = tmp_path / "a (deleted) name"
    file.write_bytes(b"words" * 2000)
    mapped = np.memmap(file, dtype=np.uint8, mode="r")
    forget_file_pages(file)
    assert bytes(mapped[:5]) == b"words"


def test_the_computing_thread_rests_once_each_time_it_has_long_had_no_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compute_turns, "_IDLE_SECONDS", 0.01)
    rested = threading.Semaphore(0)
    turns = ComputeTurns()
    try:
        turns.when_idle(rested.release)
        assert rested.acquire(timeout=30)
        assert not rested.acquire(timeout=0.1), "it rested twice"
        turns.errand(lambda: None, ANY)
        assert rested.acquire(timeout=30)
    finally:
        turns.close()


def test_a_rest_that_fails_leaves_the_thread_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_turns, "_IDLE_SECONDS", 0.01)
    tried = threading.Semaphore(0)

    def fail() -> None:
        tried.release()
        raise OSError

    turns = ComputeTurns()
    try:
        turns.when_idle(fail)
        assert tried.acquire(timeout=30)
        done = threading.Event()
        threading.Thread(target=lambda: turns.errand(done.set, ANY), daemon=True).start()
        assert done.wait(30)
    finally:
        turns.close()


def test_who_cannot_rest_yet_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compute_turns, "_IDLE_SECONDS", 0.01)
    asked = threading.Semaphore(0)

    def not_yet() -> bool:
        asked.release()
        return False

    turns = ComputeTurns()
    try:
        turns.when_idle(not_yet)
        assert all(asked.acquire(timeout=30) for _ in range(2))
    finally:
        turns.close()


@linux_only
def test_what_was_reserved_for_a_context_that_failed_is_not_looked_at(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    c = engine._weights.library.c
    make, looked = c.llama_init_from_model, list[int]()

    def make_in_vain(*given: object) -> None:
        c.llama_free(make(*given))

    monkeypatch.setattr(c, "llama_init_from_model", make_in_vain)
    monkeypatch.setattr(unused_memory, "_is_clear", lambda start, _size: looked.append(start))
    with pytest.raises(LibraryError, match="could not reserve"):
        LlamaContext(engine._weights, ComputeOptions(1, 0, 512))
    assert looked == []


@linux_only
def test_two_contexts_made_at_once_leave_the_table_of_functions_as_it_was(
    engine: LlamaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, lock, second_waits = engine._weights.library, threading.Lock(), threading.Event()
    slot = unused_memory._allocate_slot(library.c)
    original = slot[0]

    class Turn:
        def __enter__(self) -> None:
            if lock.locked():
                second_waits.set()
            lock.acquire()

        def __exit__(self, *_error: object) -> None:
            lock.release()

    def watch() -> None:
        with SequenceMemory().watched(library):
            pass

    monkeypatch.setattr(unused_memory, "_ONE_AT_A_TIME", Turn())
    second = threading.Thread(target=watch)
    with SequenceMemory().watched(library):
        noting = slot[0]
        second.start()
        assert second_waits.wait(30)
    second.join(30)
    assert slot[0] == original != noting
    # Another thread may have read the address before, and still call it.
    kind = ctypes.c_void_p(library.c.ggml_backend_cpu_buffer_type())
    assert unused_memory._ALLOCATE(noting)(kind, 64)
