"""What would kill this process kills a child instead, and is told apart."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine.child_probe import ChildProbe, command_of_this_program
from shimmy_vision.errors import LibraryError, ModelError, ShimmyError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EngineFiles, EngineOptions

OPTIONS = EngineOptions(1, 0, 256)


def _files(pair: SyntheticPair) -> EngineFiles:
    return EngineFiles(pair.main, pair.projector, "2.6", True, "", "")


def _dying(body: str) -> tuple[str, ...]:
    return (sys.executable, "-c", f"import os, signal, sys; {body}")


def _probe_with(body: str, pair: SyntheticPair, library: Path, record: Path) -> ShimmyError:
    probe = ChildProbe(_dying(body), library, record)
    with pytest.raises(ShimmyError) as failed:
        probe.probe(_files(pair), OPTIONS, Cancellation())
    assert failed.value.hint
    assert not record.exists()
    return failed.value


@pytest.mark.parametrize(
    ("body", "code", "named"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "library-crashed", "SIGSEGV"),
        (
            "print('/src/ggml.c:12: GGML_ASSERT(x) failed', file=sys.stderr); os.abort()",
            "library-crashed",
            "GGML_ASSERT(x)",
        ),
        ("os.kill(os.getpid(), signal.SIGILL)", "library-wrong-cpu", "instructions"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "library-out-of-memory", "memory"),
        ("print('error: odd', file=sys.stderr); sys.exit(9)", "library-probe-failed", "odd"),
        (
            """print('shimmy-probe-error:{"kind":"model","code":"c","message":"m","hint":"h"}')
sys.exit(3)""",
            "c",
            "m",
        ),
    ],
)
def test_every_death_is_told_apart(
    body: str,
    code: str,
    named: str,
    synthetic_26: SyntheticPair,
    library_directory: Path,
    tmp_path: Path,
) -> None:
    error = _probe_with(body, synthetic_26, library_directory, tmp_path / "record.json")
    assert error.code == code
    assert named in error.message


def test_a_real_pair_passes_and_is_remembered(
    synthetic_26: SyntheticPair, library_directory: Path, tmp_path: Path
) -> None:
    record = tmp_path / "state" / "probed.json"
    real = ChildProbe(command_of_this_program(), library_directory, record)
    real.probe(_files(synthetic_26), OPTIONS, Cancellation())
    # A command that always fails proves that the second time nobody is asked.
    ChildProbe(_dying("os.abort()"), library_directory, record).probe(
        _files(synthetic_26), OPTIONS, Cancellation()
    )
    synthetic_26.main.touch()
    with pytest.raises(LibraryError):
        ChildProbe(_dying("os.abort()"), library_directory, record).probe(
            _files(synthetic_26), OPTIONS, Cancellation()
        )


def test_a_pair_that_llama_refuses_keeps_its_reason(
    synthetic_26: SyntheticPair,
    synthetic_46: SyntheticPair,
    library_directory: Path,
    tmp_path: Path,
) -> None:
    probe = ChildProbe(command_of_this_program(), library_directory, tmp_path / "r.json")
    mixed = EngineFiles(synthetic_26.main, synthetic_46.projector, "2.6", True, "", "")
    with pytest.raises(ModelError) as failed:
        probe.probe(mixed, OPTIONS, Cancellation())
    assert failed.value.code == "projector-load-failed"


def test_a_library_that_is_none_is_reported(synthetic_26: SyntheticPair, tmp_path: Path) -> None:
    probe = ChildProbe(command_of_this_program(), tmp_path, tmp_path / "r.json")
    with pytest.raises(LibraryError) as failed:
        probe.describe_library(Cancellation())
    assert failed.value.code == "library-missing"


def test_the_library_describes_itself(library_directory: Path, tmp_path: Path) -> None:
    probe = ChildProbe(command_of_this_program(), library_directory, tmp_path / "r.json")
    report = probe.describe_library(Cancellation())
    assert "0.3.36" in report.build
    assert " = 1" in report.system_info


def test_a_damaged_record_only_means_probing_again(
    synthetic_26: SyntheticPair, library_directory: Path, tmp_path: Path
) -> None:
    record = tmp_path / "probed.json"
    record.write_text("{not json")
    probe = ChildProbe(command_of_this_program(), library_directory, record)
    probe.probe(_files(synthetic_26), OPTIONS, Cancellation())
    assert record.read_text().startswith('{"passed"')


def test_the_switch_kills_the_child(
    synthetic_26: SyntheticPair, library_directory: Path, tmp_path: Path
) -> None:
    switch = Cancellation()
    probe = ChildProbe(_dying("signal.pause()"), library_directory, tmp_path / "r.json")
    threading.Timer(0.3, switch.cancel, ["interrupted"]).start()
    started = time.perf_counter()
    with pytest.raises(StoppedError):
        probe.probe(_files(synthetic_26), OPTIONS, switch)
    # Nobody ends the child otherwise.
    assert time.perf_counter() - started < 20
