"""Many processes at once, kills, full disks, and places that cannot be used."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from payloads import (
    ANSWER,
    NAMES,
    TinyPayloads,
    Trial,
    Trials,
    compile_library,
    open_trials,
)


@pytest.fixture
def trial(tiny: TinyPayloads, tmp_path: Path) -> Trial:
    tiny.pack(tmp_path / "packed")
    return Trial(tmp_path / "packed", tmp_path / "cache/native", tmp_path / "seen.json")


def _left(trial: Trial) -> list[str]:
    """What lies beside the lock; one whole folder is all there should be."""
    return sorted(one.name for one in trial.unpacked.iterdir() if one.name != "lock")


@pytest.mark.parametrize("sealing", [True, False], ids=["memory", "disk"])
def test_fifty_processes_start_at_once_on_an_empty_cache(
    trial: Trial, trials: Trials, sealing: bool
) -> None:
    said = trials.run(*[replace(trial, sealing=sealing, breaking={"how": "count"})] * 50)
    assert [one.get("answer") for one in said] == [ANSWER] * 50
    assert sum(one["wrote"] > 0 for one in said) == 1
    (folder,) = _left(trial)
    assert sorted(one.name for one in (trial.unpacked / folder).iterdir()) == sorted(NAMES)


def test_fifty_processes_meet_a_damaged_file_at_once(trial: Trial, trials: Trials) -> None:
    trials.one(trial)
    (folder,) = _left(trial)
    (trial.unpacked / folder / NAMES[0]).chmod(0o777)
    said = trials.run(*[replace(trial, sealing=index % 2 == 0) for index in range(50)])
    assert [one.get("answer") for one in said] == [ANSWER] * 50
    assert _left(trial) == [folder]


def test_a_process_killed_at_any_step_of_unpacking_harms_nobody(
    trial: Trial, trials: Trials
) -> None:
    steps = trials.one(replace(trial, breaking={"how": "count"}))["calls"]
    assert steps > 30
    for at in range(1, steps + 1):
        shutil.rmtree(trial.unpacked, ignore_errors=True)
        killed = trials.one(replace(trial, breaking={"how": "kill", "at": at}))
        assert killed == {"killed": signal.SIGKILL}, at
        assert trials.one(trial)["answer"] == ANSWER
        assert len(_left(trial)) == 1


def test_a_process_killed_while_it_heals_harms_nobody(trial: Trial, trials: Trials) -> None:
    trials.one(trial)
    (folder,) = _left(trial)
    damaged = trial.unpacked / folder / NAMES[0]
    damaged.chmod(0o777)
    steps = trials.one(replace(trial, breaking={"how": "count"}))["calls"]
    for at in range(steps - 30, steps + 1, 2):
        damaged.chmod(0o777)
        assert trials.one(replace(trial, breaking={"how": "kill", "at": at}))["killed"]
        assert trials.one(trial)["answer"] == ANSWER
        assert _left(trial) == [folder]


def test_a_full_disk_leaves_nothing_behind_and_memory_serves(trial: Trial, trials: Trials) -> None:
    full = {"how": "full"}
    assert trials.one(replace(trial, breaking=full))["answer"] == ANSWER
    assert _left(trial) == []
    # Without sealed memory the private temporary folder serves.
    said = trials.one(replace(trial, breaking=full, sealing=False))
    assert said["answer"] == ANSWER
    assert _left(trial) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_disk_that_is_really_full_is_no_error_either(trial: Trial, trials: Trials) -> None:
    small = trial.unpacked.parent
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k,mode=0700", "tmpfs", str(small)],
        capture_output=True, check=False,
    )  # fmt: skip
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        for sealing in (True, False):
            assert trials.one(replace(trial, sealing=sealing))["answer"] == ANSWER
        assert _left(trial) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_home_that_cannot_be_written_is_no_error(
    trial: Trial, trials: Trials, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for place in (Path("/proc/shimmy/native"), tmp_path / "file/native"):
        for sealing in (True, False):
            said = trials.one(replace(trial, unpacked=place, record=place, sealing=sealing))
            assert said["answer"] == ANSWER, said
            assert all(one.startswith("/memfd:") is sealing for one in said["mapped"])


def test_with_no_place_at_all_the_error_says_what_to_do(trial: Trial, trials: Trials) -> None:
    nowhere = {"how": "full", "temporary": "/proc/nowhere"}
    said = trials.one(replace(trial, breaking=nowhere, sealing=False))
    assert said["code"] == "library-no-place"
    assert "SHIMMY_CACHE_DIR" in said["hint"]
    assert trials.one(replace(trial, breaking=nowhere))["answer"] == ANSWER


def test_folders_of_payloads_before_go_but_for_the_latest(
    trial: Trial, trials: Trials, tiny: TinyPayloads
) -> None:
    for version in range(1, 7):
        shutil.rmtree(trial.folder)
        tiny.pack(trial.folder, version=version)
        assert trials.one(trial)["answer"] == ANSWER
    assert len(_left(trial)) == 3


def test_no_library_comes_from_the_environment_or_the_current_folder(
    trial: Trial, tiny: TinyPayloads, tmp_path: Path
) -> None:
    """Hostile copies of every name lie wherever a linker or ggml could look."""
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in (*NAMES, "libggml-cpu.so", "libggml-cpu-x.so", "libggml-cpu-haswell.so"):
        shutil.copy(tiny.hostile, hostile / name)
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(hostile),
        "GGML_BACKEND_PATH": str(hostile / "libggml-cpu.so"),
    }
    with open_trials(environment, hostile) as misled:
        for sealing in (True, False):
            said = misled.one(replace(trial, sealing=sealing))
            assert (said["answer"], said["speed"]) == (ANSWER, 2)
            assert not any(str(hostile) in one for one in said["mapped"])


def test_a_process_that_holds_another_library_of_the_name_is_refused(
    trial: Trial, tmp_path: Path
) -> None:
    """One that came by LD_PRELOAD, or with ``import llama_cpp``, would be used in ours' place."""
    folder = tmp_path / "preloaded"
    folder.mkdir()
    other = compile_library(folder, NAMES[0], "int base_value(void) { return 111; }\n")
    with open_trials({**os.environ, "LD_PRELOAD": str(other)}) as preloaded:
        said = preloaded.one(trial)
    assert said["code"] == "library-already-loaded"
    assert NAMES[0] in said["message"]
    assert said["hint"]
