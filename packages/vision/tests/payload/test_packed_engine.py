"""The real libraries, packed: many processes, the engine itself, and what it says of itself."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from payloads import PUBLIC, Trial, Trials, facts
from serving import Gate, PlayedAnalyst
from starlette.testclient import TestClient

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine.child_probe import ChildProbe, command_of_this_program
from shimmy_vision.adapters.engine.llama_bindings import LOAD_ORDER, library_file_name
from shimmy_vision.adapters.payload.payload_packing import BuiltLibrary, pack
from shimmy_vision.errors import ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions

OPTIONS = EngineOptions(1, 0, 256)


@pytest.fixture(scope="module")
def libraries(library_directory: Path) -> tuple[BuiltLibrary, ...]:
    """Those that this checkout was built with; their CPU backend is linked in."""
    found = [
        (stem, library_directory / library_file_name(stem))
        for stem in LOAD_ORDER
        if (library_directory / library_file_name(stem)).exists()
    ]
    return tuple(
        BuiltLibrary(path.read_bytes(), stem, f"lib{stem}.so.0", "library") for stem, path in found
    )


@pytest.fixture(scope="module")
def packed(libraries: tuple[BuiltLibrary, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("real") / "packed"
    pack(libraries, facts(), folder, None, level=1)
    return folder


@pytest.fixture
def probe(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChildProbe:
    monkeypatch.setenv("SHIMMY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SHIMMY_STATE_DIR", str(tmp_path / "state"))
    return ChildProbe(command_of_this_program(), packed, tmp_path / "probed.json")


def test_fifty_processes_load_the_real_libraries_at_once(
    packed: Path, trials: Trials, tmp_path: Path
) -> None:
    trial = Trial(packed, tmp_path / "cache", tmp_path / "seen.json", "", real=True)
    said = trials.run(*[trial] * 50)
    assert [one.get("seal") for one in said] == ["development"] * 50, said[0]
    for one in said:
        names = {name.split(":")[-1].split()[0] for name in one["mapped"]}
        assert {"libggml-base.so.0", "libggml.so.0", "libllama.so.0"} <= names
        assert all(name.startswith("/memfd:shimmy:") for name in one["mapped"])


def test_a_packed_library_computes_and_says_who_answers_for_it(
    probe: ChildProbe, synthetic_26: SyntheticPair, tmp_path: Path
) -> None:
    report = probe.describe_library(Cancellation())
    assert report.build == "test, development payload 5, unsigned"
    assert " = 1" in report.system_info
    files = EngineFiles(synthetic_26.main, synthetic_26.projector, "2.6", True, "", "")
    probe.probe(files, OPTIONS, Cancellation())
    assert [one.name for one in (tmp_path / "cache/native").iterdir() if one.is_dir()]
    # Nobody signed it: what it says of its version holds nobody back later.
    assert not (tmp_path / "state/library-seen.json").exists()


def test_a_model_that_the_manifest_does_not_list_is_refused(
    libraries: tuple[BuiltLibrary, ...],
    synthetic_26: SyntheticPair,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHIMMY_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SHIMMY_STATE_DIR", str(tmp_path / "state"))
    said = facts()
    fewer = replace(said, models=tuple(one for one in said.models if one.family != "2.6"))
    pack(libraries, fewer, tmp_path / "packed", None, level=1)
    probe = ChildProbe(command_of_this_program(), tmp_path / "packed", tmp_path / "probed.json")
    files = EngineFiles(synthetic_26.main, synthetic_26.projector, "2.6", True, "", "")
    with pytest.raises(ModelError) as refused:
        probe.probe(files, OPTIONS, Cancellation())
    assert refused.value.code == "model-not-in-library"


def test_the_doctor_and_the_server_say_what_kind_of_library_this_is(
    packed: Path, tmp_path: Path
) -> None:
    environment = {
        **os.environ,
        "SHIMMY_LIBRARY_DIR": str(packed),
        "SHIMMY_STATE_DIR": str(tmp_path / "state"),
        "SHIMMY_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "shimmy_vision", "doctor"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "development payload 5, unsigned" in done.stdout, done.stdout + done.stderr
    options = ServerOptions(library="sealed payload 7")
    app = create_app(PlayedAnalyst(Gate()), options, lambda: None, list_models=lambda: ())
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/health").json()["library"] == "sealed payload 7"


def test_a_build_that_pins_a_key_takes_no_folder_of_loose_libraries(
    library_directory: Path,
) -> None:
    code = (
        "from shimmy_vision.adapters.engine.llama_library import open_native_library;"
        "from shimmy_vision.ports.library_places import PayloadPlaces;"
        "from pathlib import Path; import sys;"
        f"open_native_library(Path(sys.argv[1]), PayloadPlaces(public_key={PUBLIC!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(library_directory)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "payload-manifest-missing" in done.stderr
