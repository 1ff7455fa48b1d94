"""Our own instructions are read once a machine: what is kept on disk is whole, or it is nothing."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine import kept_prefixes
from shimmy_vision.adapters.engine.kept_prefixes import KeptPrefixes, KeptState
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llama_library import file_sizes
from shimmy_vision.domain.answer.prompts import Prompt, Segment
from shimmy_vision.domain.answer.sampling import GREEDY
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EncodedTile
from shimmy_vision.use_cases.generate_answer import AnswerOrder, GeneratedAnswer, generate_answer

ANY = Cancellation()
SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "string"}, "minItems": 1}
END = (Segment("<|im_end|>\n<|im_start|>assistant\n", special=True),)
OpenEngine = Callable[..., LlamaEngine]


@pytest.fixture(scope="module", autouse=True)
def small_ones_are_kept() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_prefixes, "_LEAST_BYTES", 1)
        yield


def test_what_is_computed_at_once_is_not_kept(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_prefixes, "_LEAST_BYTES", 11)
        KeptPrefixes(tmp_path).keep("a", _state(10))
    assert _files(tmp_path) == []


def _state(size: int, seed: int = 0) -> KeptState:
    return KeptState(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8), size // 7)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.exists() else []


def test_what_was_kept_is_found_by_whoever_has_the_same_context(tmp_path: Path) -> None:
    kept = _state(1000)
    KeptPrefixes(tmp_path, ("build", 4)).keep("a", kept)
    found = KeptPrefixes(tmp_path, ("build", 4)).find("a")
    assert found is not None
    assert found.positions == kept.positions
    assert np.array_equal(found.data, kept.data)
    assert KeptPrefixes(tmp_path, ("build", 5)).find("a") is None
    assert KeptPrefixes(tmp_path, ("build", 4)).find("b") is None


@pytest.mark.skipif(sys.platform == "win32", reason="rights are others there")
def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    prefixes = KeptPrefixes(tmp_path / "states")
    prefixes.keep("a", _state(10))
    assert [stat.S_IMODE(one.stat().st_mode) for one in _files(tmp_path / "states")] == [0o600]
    assert stat.S_IMODE((tmp_path / "states").stat().st_mode) == 0o700


@given(at=st.integers(0, 147), change=st.sampled_from(["flip", "cut", "grow"]))
@settings(max_examples=30, deadline=None)
def test_what_is_damaged_anywhere_is_dropped(
    at: int, change: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("states")
    prefixes = KeptPrefixes(folder)
    prefixes.keep("a", _state(100))
    (path,) = _files(folder)
    data = bytearray(path.read_bytes())
    if change == "flip":
        data[at] ^= 1
    damaged = {"flip": data, "cut": data[:at], "grow": data + b"x" * (at + 1)}[change]
    path.write_bytes(damaged)
    assert prefixes.find("a") is None
    assert _files(folder) == []


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    prefixes = KeptPrefixes(tmp_path, most=2500)
    for name, seconds in (("a", 100), ("b", 200)):
        before = set(_files(tmp_path))
        prefixes.keep(name, _state(1000))
        for path in set(_files(tmp_path)) - before:
            os.utime(path, (seconds, seconds))
    assert prefixes.find("a") is not None, "which is now the one used last"
    prefixes.keep("c", _state(1000))
    assert [prefixes.find(name) is not None for name in "abc"] == [True, False, True]
    prefixes.keep("d", _state(3000))
    assert prefixes.find("d") is None


def test_a_folder_that_cannot_be_written_only_means_computing_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    prefixes = KeptPrefixes(tmp_path / "file" / "states")
    prefixes.keep("a", _state(10))
    assert prefixes.find("a") is None


def test_a_folder_that_cannot_be_entered_only_means_computing_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(Path, "exists", refuse)
    KeptPrefixes(tmp_path).keep("a", _state(10))


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and links are others there")
@pytest.mark.parametrize("planted", ["pipe", "link", "huge"])
def test_what_is_no_file_of_ours_is_neither_waited_for_nor_read(
    planted: str, tmp_path: Path
) -> None:
    prefixes, other = KeptPrefixes(tmp_path / "states", most=5000), tmp_path / "other"
    prefixes.keep("a", _state(10))
    (path,) = _files(tmp_path / "states")
    path.rename(other)
    if planted == "pipe":
        os.mkfifo(path)
    elif planted == "link":
        path.symlink_to(other)
    else:
        path.touch()
        os.truncate(path, 1 << 40)
    assert prefixes.find("a") is None
    assert other.exists()


def test_what_vanishes_meanwhile_or_leads_nowhere_does_not_lift_the_bound(tmp_path: Path) -> None:
    prefixes = KeptPrefixes(tmp_path, most=2500)
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in "abcd":
        prefixes.keep(name, _state(1000))
    assert sum(one.lstat().st_size for one in _files(tmp_path) if one.suffix == ".state") <= 2500


def test_another_library_of_the_same_name_is_told_from_it(tmp_path: Path) -> None:
    (tmp_path / "libllama.so").write_bytes(b"one")
    before = file_sizes(tmp_path)
    (tmp_path / "libllama.so").write_bytes(b"other")
    assert before == (("libllama.so", 3),) != file_sizes(tmp_path)
    assert file_sizes(tmp_path / "nothing") == ()


def _answer(engine: LlamaEngine, *, own: bool) -> GeneratedAnswer:
    order = AnswerOrder(
        model_sha256="a model",
        prompt=Prompt((Segment("<|im_start|>user\nWhat is to be seen?", special=True),), END),
        tile=EncodedTile(()),
        grammar=engine.grammars.compile(SCHEMA),
        rule=GREEDY,
        seed=0,
        max_tokens=30,
        own_instructions=own,
    )
    with engine.sequence(ANY) as model:
        return generate_answer(model, order, ANY, lambda *_: None)


@pytest.mark.parametrize("family", ["2.6", "4.6"])
def test_another_process_reads_on_behind_the_instructions(
    family: str, request: pytest.FixtureRequest, open_engine: OpenEngine, tmp_path: Path
) -> None:
    pair: SyntheticPair = request.getfixturevalue(f"synthetic_{family.replace('.', '')}")
    folder = tmp_path / "states"

    def answer(*, own: bool) -> tuple[bytes, int]:
        engine = open_engine(pair, family, context=512, states_folder=folder)
        try:
            before = engine._sequences.decoding._counters.decode_tokens
            told = bytes(_answer(engine, own=own).data)
            return told, engine._sequences.decoding._counters.decode_tokens - before
        finally:
            engine.close()

    callers, all_tokens = answer(own=False)
    assert _files(folder) == [], "a caller's words were written down"
    first, first_tokens = answer(own=True)
    assert len(_files(folder)) == 1
    again, fewer = answer(own=True)
    assert callers == first == again
    assert fewer < first_tokens == all_tokens
    (path,) = _files(folder)
    path.write_bytes(path.read_bytes()[:-1])
    assert answer(own=True) == (first, all_tokens)
