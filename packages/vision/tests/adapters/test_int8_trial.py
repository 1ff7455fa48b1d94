"""int8 has to hold with the projector at hand; one whose weights stand out is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from shimmy_sandbox.synthetic_model import Encoder, SyntheticPair, write_synthetic_pair
from shimmy_vision.adapters.engine import int8_trial, int8_verdicts
from shimmy_vision.adapters.engine.child_probe import ChildProbe, command_of_this_program
from shimmy_vision.adapters.engine.compiled_projectors import CompiledProjectors
from shimmy_vision.adapters.engine.encoder_trial import measure_machine
from shimmy_vision.adapters.engine.int8_trial import Int8Trial, try_int8
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llama_library import open_native_library
from shimmy_vision.adapters.engine.openvino_graph import BuiltGraph
from shimmy_vision.adapters.engine.openvino_library import open_openvino
from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.domain.model.encoder_choice import INT8_HELD, native_precisions
from shimmy_vision.domain.model.trial_pictures import trial_pictures
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EncoderOrder, EngineFiles, EngineOptions

Try = Callable[..., Int8Trial]
PROJECTOR = "p" * 64


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> SyntheticPair:
    if "int8" not in native_precisions(open_openvino().capabilities):
        pytest.skip("this CPU does not compute int8")
    folder = tmp_path_factory.mktemp("int8")
    return write_synthetic_pair(folder, "4.6", encoder=Encoder(layers=2, slice_size=112))


@pytest.fixture
def outlying(pair: SyntheticPair, tmp_path: Path) -> SyntheticPair:
    """The same projector, with two channels of every layer a hundred times as heavy."""
    heavy = SyntheticPair(pair.main, tmp_path / "mmproj-heavy.gguf")
    shutil.copy(pair.projector, heavy.projector)
    reader = gguf.GGUFReader(heavy.projector, "r+")
    for tensor in reader.tensors:
        if tensor.name.startswith("v.blk.") and tensor.data.ndim == 2:
            tensor.data[:, [3, 7]] *= 100
    reader.data.flush()
    return heavy


def _files(pair: SyntheticPair) -> EngineFiles:
    return EngineFiles(pair.main, pair.projector, "4.6", True, "m" * 64, PROJECTOR)


def _options(folder: Path) -> EngineOptions:
    return EngineOptions(2, 0, 512, 1, EncoderOrder("auto", None, folder))


@pytest.fixture
def tried(library_directory: Path, tmp_path: Path) -> Try:
    def tried(pair: SyntheticPair, *, quicker: bool = True) -> Int8Trial:
        library = open_native_library(library_directory)
        return try_int8(library, _files(pair), _options(tmp_path / "encoders"), lambda _: quicker)

    return tried


def test_an_ordinary_projector_holds_and_its_graph_is_kept(
    pair: SyntheticPair, tried: Try, tmp_path: Path
) -> None:
    trial = tried(pair)
    assert trial.verdict.outcome == "held"
    assert list(trial.cosines) == list(trial_pictures(112))
    assert all(INT8_HELD <= least <= 1.0001 for least in trial.cosines.values())
    assert trial.verdict.least == min(trial.cosines.values())
    record = trial.record()
    assert (record["main_sha256"], record["projector_sha256"]) == ("m" * 64, PROJECTOR)
    assert record["openvino"] == open_openvino().version
    assert record["library"]

    def build() -> BuiltGraph:
        raise AssertionError("the graph that was tried is the one that is used")

    kept = CompiledProjectors(open_openvino(), tmp_path / "encoders", 2)
    assert kept.open(PROJECTOR, "int8", build).kept


def test_a_projector_whose_weights_stand_out_is_refused_at_once(
    outlying: SyntheticPair, tried: Try, tmp_path: Path
) -> None:
    trial = tried(outlying)
    assert trial.verdict.outcome == "fell"
    assert trial.verdict.least < INT8_HELD
    assert len(trial.cosines) == 1
    assert not list(tmp_path.rglob("*.blob"))


def test_where_int8_is_no_faster_nothing_is_compared(
    pair: SyntheticPair, tried: Try, tmp_path: Path
) -> None:
    trial = tried(pair, quicker=False)
    assert (trial.verdict.outcome, trial.cosines) == ("no-faster", {})


def test_a_trial_for_which_there_is_no_time_and_one_that_cannot_be_fail(
    pair: SyntheticPair, tried: Try, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_trial, "_MOST_SECONDS", 0.0)
    slow = tried(pair)
    assert (slow.verdict.outcome, len(slow.cosines)) == ("failed", 1)
    broken = SyntheticPair(pair.main, tmp_path / "mmproj-broken.gguf")
    broken.projector.write_bytes(pair.projector.read_bytes()[:50_000])
    assert tried(broken).verdict.outcome == "failed"
    assert not list(tmp_path.rglob("*.blob"))


def test_an_engine_is_opened_with_what_was_proved(
    pair: SyntheticPair, library_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHIMMY_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(int8_verdicts, "worth_keeping", lambda _bytes: True)
    folder = tmp_path / "encoders"
    measure_machine(open_openvino(), folder, 2)
    (name,) = read_record(folder / "machine.json")
    # As a machine on which int8 is quick, whatever this one is.
    write_record(folder / "machine.json", {name: {"f32": 3.0, "bf16": 2.0, "int8": 1.0}})
    probe = ChildProbe(command_of_this_program(), library_directory, tmp_path / "probed.json")
    proved = probe.probe(_files(pair), _options(folder), Cancellation())
    assert proved.encoder.precision == "int8"
    (record,) = read_record(folder / "int8.json").values()
    assert record["outcome"] == "held"
    engine = LlamaEngine(library_directory, _files(pair), proved)
    assert engine.description.encoder.endswith(", int8")
    picture = np.zeros((50, 60, 3), dtype=np.uint8)
    assert engine.encoder.encode(
        picture, on_slice=lambda _done, _all: None, cancellation=Cancellation()
    ).parts
    engine.close()
