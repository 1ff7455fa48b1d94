"""What a newcomer meets first: .venv made whole, the build's key, failures told apart."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bootstrap.py"


@pytest.fixture
def bootstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, with its .venv and its cache under ``tmp_path``."""
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setenv("SHIMMY_CACHE", str(tmp_path / "cache"))
    for name in module.COMPILER_SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return module


def _has_pip(venv: Path) -> bool:
    command = [str(venv / "bin/python"), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_an_interrupted_environment_is_made_anew_and_a_whole_one_is_kept(
    bootstrap: ModuleType,
) -> None:
    half = bootstrap.VENV / "bin"
    half.mkdir(parents=True)
    (half / "python").symlink_to(sys.executable)
    bootstrap.make_environment()
    assert _has_pip(bootstrap.VENV)
    ours = bootstrap.VENV / "kept"
    ours.touch()
    bootstrap.make_environment()
    assert ours.exists()


@pytest.mark.parametrize("changed", ["place", "interpreter"])
def test_an_environment_of_another_place_or_interpreter_is_made_anew(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changed: str
) -> None:
    # A venv that lacks only pip is enough here, and made ten times as fast.
    monkeypatch.setattr(bootstrap.venv, "create", _without_pip(bootstrap.venv.create))
    bootstrap.make_environment()
    (bootstrap.VENV / "left").touch()
    if changed == "place":
        bootstrap.VENV.rename(tmp_path / "moved")
        monkeypatch.setattr(bootstrap, "VENV", tmp_path / "moved")
    else:
        monkeypatch.setattr(sys, "version", "3.99.0 (another)")
    bootstrap.make_environment()
    assert not (bootstrap.VENV / "left").exists()
    assert bootstrap.python_of(bootstrap.VENV).exists()


def _without_pip(create: object) -> object:
    def quick(where: Path, *, with_pip: bool, clear: bool) -> None:
        assert callable(create)
        create(where, with_pip=False, clear=clear)

    return quick


def test_what_a_link_points_to_is_never_cleared(bootstrap: ModuleType, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    bootstrap.VENV.symlink_to(elsewhere)
    with pytest.raises(SystemExit):
        bootstrap.make_environment()
    assert (elsewhere / "precious").exists()


def test_a_stamp_without_an_interpreter_is_not_current(bootstrap: ModuleType) -> None:
    bootstrap.VENV.mkdir()
    bootstrap.stamp_of("dev").write_text(bootstrap.fingerprint("dev"))
    assert not bootstrap.is_satisfied("dev")
    (bootstrap.VENV / "bin").mkdir()
    (bootstrap.VENV / "bin/python").symlink_to(sys.executable)
    assert bootstrap.is_satisfied("dev")
    assert bootstrap.is_satisfied("runtime")


def test_a_build_is_keyed_by_processor_and_compiler_settings(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = bootstrap.native_key()
    assert bootstrap.native_key() == here
    monkeypatch.setenv("CXXFLAGS", "-O1")
    slow = bootstrap.native_key()
    monkeypatch.setenv("CXXFLAGS", "-O2")
    fast = bootstrap.native_key()
    monkeypatch.setattr(bootstrap, "cpu_features", lambda: "flags : sse2")
    assert len({here, slow, fast, bootstrap.native_key()}) == 4


def test_the_chosen_compiler_is_the_one_asked(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chosen = tmp_path / "mine"
    chosen.write_text("#!/bin/sh\necho mine 7\necho more\n")
    chosen.chmod(0o755)
    monkeypatch.setenv("CXX", f"{chosen} -m64")
    assert bootstrap.compiler() == [str(chosen), "-m64"]
    assert bootstrap.compiler_version() == "mine 7"
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    assert bootstrap.compiler() == []


@pytest.mark.parametrize(
    ("step", "said", "told"),
    [
        ("wheel", "error: hash table: no space left on device", "could not be built"),
        ("install", "ERROR: No matching distribution found for numpy", "pip install failed"),
        (
            "install",
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "differs from the lock",
        ),
        ("download", "cannot hash a list", "pip download failed"),
    ],
)
def test_failures_are_told_apart(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str], step: str, said: str, told: str
) -> None:
    interpreter = bootstrap.VENV / "bin/python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    interpreter.chmod(0o755)
    with pytest.raises(SystemExit):
        bootstrap.pip(bootstrap.VENV, step)
    shown = capsys.readouterr().err
    assert said in shown
    assert told in shown


def test_a_second_bootstrap_waits_for_the_first(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    entered = threading.Event()

    def second() -> None:
        with bootstrap.alone():
            entered.set()

    other = threading.Thread(target=second)
    with bootstrap.alone():
        other.start()
        end = time.monotonic() + 60
        while "waiting" not in capsys.readouterr().out:
            assert other.is_alive() and time.monotonic() < end
            time.sleep(0.01)
        assert not entered.wait(0.1)
    assert entered.wait(60)
    other.join()


def test_a_cache_that_cannot_be_written_is_named(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SHIMMY_CACHE", str(tmp_path / "file"))
    with pytest.raises(SystemExit), bootstrap.alone():
        pass
