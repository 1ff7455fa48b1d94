"""A verdict on int8 is found out once, kept, renewed when anything changes, and never in the way.

The child that would try is a script: what it is asked is written down, what it does is told to it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from threads import until

from shimmy_vision.adapters.engine import int8_verdicts
from shimmy_vision.adapters.engine.child_probe import ChildProbe, report_int8
from shimmy_vision.adapters.engine.int8_verdicts import machine_identity, tell_verdict
from shimmy_vision.domain.model.int8_verdict import Int8Verdict, verdict_record
from shimmy_vision.errors import StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine_probe import EncoderOrder, EngineFiles, EngineOptions

_CHILD = """import os, signal, sys, time
way = "int8-trial" if "--int8" in sys.argv else "int8" if "int8" in sys.argv else "plain"
with open({log!r}, "a") as log:
    log.write(way + "\\n")
if way == "int8-trial":
    {trial}
if way == "int8":
    {engine}
"""
HELD = Int8Verdict("held", 0.9994, "colours")
FELL = Int8Verdict("fell", 0.9, "edges")


class World:
    """A projector large enough, a folder for verdicts, and children that do as they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "encoders"
        self._log, self._record = folder / "log", folder / "probed.json"
        self._library = folder / "library"
        self._library.mkdir()
        self.main, self.projector = folder / "main.gguf", folder / "mmproj.gguf"
        self.main.write_bytes(b"")
        with self.projector.open("wb") as file:
            file.truncate(65_000_000)
        self.files = EngineFiles(self.main, self.projector, "4.6", True, "m" * 64, "p" * 64)
        self.order = EncoderOrder("auto", None, self.folder)

    def probe(
        self,
        trial: str = "sys.exit(7)",
        engine: str = "pass",
        seconds: float = 60.0,
        cancellation: Cancellation | None = None,
    ) -> str:
        """What would be opened: a precision, or "open"; and what children were asked."""
        self.forget_asked()
        script = _CHILD.format(log=str(self._log), trial=trial, engine=engine)
        command = (sys.executable, "-S", "-E", "-c", script)
        probe = ChildProbe(command, self._library, self._record, int8_seconds=seconds)
        options = EngineOptions(2, 0, 512, 1, self.order)
        opened = probe.probe(self.files, options, cancellation or Cancellation())
        return opened.encoder.precision or opened.encoder.wish

    def forget_asked(self) -> None:
        self._log.write_text("")

    @property
    def asked(self) -> list[str]:
        return self._log.read_text().split()

    @property
    def kept(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / "int8.json").read_text())
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(int8_verdicts, "installed_openvino", lambda: ["openvino", 1])
    monkeypatch.setattr(int8_verdicts, "cpu_identity", lambda: "a cpu")
    return World(tmp_path)


def _tells(verdict: Int8Verdict, **more: str) -> str:
    return f"print({report_int8({**verdict_record(verdict), **more})!r})"


def test_int8_that_held_is_taken_and_not_tried_again(world: World) -> None:
    assert world.probe(_tells(HELD, projector_sha256="p" * 64)) == "int8"
    assert world.asked == ["int8-trial", "int8"]
    assert world.probe() == "int8"
    assert world.asked == []
    assert tell_verdict(world.folder) == (
        "int8 is used: least cosine to libmtmd 0.999400 (colours) with projector pppppppp"
    )


@pytest.mark.parametrize("verdict", [FELL, Int8Verdict("no-faster")], ids=["fell", "no-faster"])
def test_int8_that_was_refused_is_not_tried_again(world: World, verdict: Int8Verdict) -> None:
    assert world.probe(_tells(verdict)) == "auto"
    assert world.asked == ["int8-trial", "plain"]
    assert world.probe() == "auto"
    assert world.asked == []
    assert "int8 is not used" in tell_verdict(world.folder)


def _another_projector(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.files = replace(world.files, projector_sha256="q" * 64)


def _another_openvino(_world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(int8_verdicts, "installed_openvino", lambda: ["openvino", 2])


def _another_cpu(_world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(int8_verdicts, "cpu_identity", lambda: "another cpu")


def _other_pictures(_world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(int8_verdicts, "PICTURES_DIGEST", "0" * 32)


def _another_graph(_world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(int8_verdicts, "GRAPH_VERSION", -1)


def _damaged_file(world: World, _patch: pytest.MonkeyPatch) -> None:
    path = world.folder / "int8.json"
    path.write_bytes(path.read_bytes()[:-9])


def _damaged_verdict(world: World, _patch: pytest.MonkeyPatch) -> None:
    found = {name: {**one, "least": "much"} for name, one in world.kept.items()}
    (world.folder / "int8.json").write_text(json.dumps(found))


@pytest.mark.parametrize(
    "change",
    [
        _another_projector,
        _another_openvino,
        _another_cpu,
        _other_pictures,
        _another_graph,
        _damaged_file,
        _damaged_verdict,
    ],
)
def test_a_verdict_is_renewed_when_anything_changes(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[World, pytest.MonkeyPatch], None],
) -> None:
    assert world.probe(_tells(HELD)) == "int8"
    change(world, monkeypatch)
    assert world.probe(_tells(FELL)) == "auto"
    assert "int8-trial" in world.asked


@pytest.mark.parametrize(
    "trial",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGSEGV)",
        'print(\'shimmy-int8-trial:{"outcome": "held"\')',
        "print('nothing')",
        "sys.exit(3)",
    ],
)
def test_a_trial_that_comes_to_nothing_is_tried_once_more_and_then_left(
    world: World, trial: str
) -> None:
    for expected in (["int8-trial", "plain"], ["int8-trial"], []):
        assert world.probe(trial) == "auto"
        assert world.asked == expected
    assert "its trial failed" in tell_verdict(world.folder)


def test_a_trial_that_hangs_is_ended(world: World) -> None:
    # The script would wait for ten minutes, and nobody else ends it.
    assert world.probe("time.sleep(600)", seconds=0.5) == "auto"
    assert world.asked[-1] == "plain"
    (entry,) = world.kept.values()
    assert entry["outcome"] == "failed"


def test_a_trial_that_was_interrupted_leaves_no_mark(world: World) -> None:
    for _ in range(3):
        switch = Cancellation()
        world.forget_asked()

        def interrupt(switch: Cancellation = switch) -> None:
            # Before it has begun, there is nothing to take back.
            until(lambda: world.asked == ["int8-trial"])
            assert world.kept != {}
            switch.cancel("interrupted")

        with ThreadPoolExecutor(1) as threads:
            interrupted = threads.submit(interrupt)
            with pytest.raises(StoppedError):
                world.probe("time.sleep(600)", cancellation=switch)
            interrupted.result()
        assert world.kept == {}
    assert world.probe(_tells(HELD)) == "int8"


def test_a_trial_that_took_the_machine_with_it_is_not_tried_for_ever(world: World) -> None:
    """Nobody was left to note what became of it: only that it began stands there."""
    assert world.probe(_tells(HELD)) == "int8"
    (key,) = world.kept
    for tries, expected in ((1, "int8"), (2, "auto")):
        (world.folder / "int8.json").write_text(json.dumps({key: {"tries": tries}}))
        assert world.probe(_tells(HELD)) == expected


def test_int8_that_held_and_does_not_run_is_given_up(world: World) -> None:
    assert world.probe(_tells(HELD), engine="os.abort()") == "auto"
    assert world.asked == ["int8-trial", "int8", "plain"]
    assert world.probe(_tells(HELD)) == "auto"
    assert world.asked == []


def _is_asked_for(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.order = replace(world.order, precision="bf16")


def _is_libmtmds(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.order = EncoderOrder("mtmd", None, world.folder)


def _cannot_be_kept(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.folder.write_bytes(b"")


def _has_no_room(_world: World, patch: pytest.MonkeyPatch) -> None:
    class Little:
        available = 100_000_000

    patch.setattr(psutil, "virtual_memory", Little)


def _is_small(world: World, _patch: pytest.MonkeyPatch) -> None:
    world.projector.write_bytes(b"small")


def _has_no_openvino(_world: World, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(int8_verdicts, "installed_openvino", list)


@pytest.mark.parametrize(
    "why",
    [
        _is_asked_for,
        _is_libmtmds,
        _cannot_be_kept,
        _has_no_room,
        _is_small,
        _has_no_openvino,
    ],
)
def test_int8_is_not_tried_where_it_is_no_question(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    why: Callable[[World, pytest.MonkeyPatch], None],
) -> None:
    why(world, monkeypatch)
    assert world.probe(_tells(HELD)) != "int8"
    assert world.asked == ["plain"]
    assert not (world.folder / "int8.json").exists()


def test_only_this_machines_verdict_is_told(tmp_path: Path) -> None:
    assert tell_verdict(tmp_path) == ""
    here: Mapping[str, Any] = {**verdict_record(HELD), "machine": machine_identity()}
    there = {**verdict_record(FELL), "machine": "another"}
    (tmp_path / "int8.json").write_text(json.dumps({"a": here, "b": there, "c": "odd"}))
    assert tell_verdict(tmp_path).startswith("int8 is used")
