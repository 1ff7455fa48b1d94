"""Each embedded file, changed in each way at each moment: what was signed runs, or nothing does."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from payload_trials import tamper_with
from payloads import ANSWER, NAMES, TinyPayloads, Trial, Trials

IS_ROOT = os.geteuid() == 0
LOADED = tuple(name for name in NAMES if name != "libtiny-cpu-last.so")


@pytest.fixture
def trial(tiny: TinyPayloads, tmp_path: Path) -> Trial:
    tiny.pack(tmp_path / "packed")
    return Trial(tmp_path / "packed", tmp_path / "cache/native", tmp_path / "seen.json")


def _unpacked(trial: Trial) -> Path:
    (folder,) = (one for one in trial.unpacked.iterdir() if one.is_dir())
    return folder


def _sound(trial: Trial, tiny: TinyPayloads) -> None:
    """What lies unpacked is what was packed, closed to others, and nothing else is there."""
    folder = _unpacked(trial)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {one.name: one.read_bytes() for one in folder.iterdir()} == {
        one.soname: one.data for one in tiny.libraries
    }
    assert {stat.S_IMODE(one.lstat().st_mode) for one in folder.iterdir()} == {0o500}
    assert sorted(one.name for one in trial.unpacked.iterdir()) == sorted([folder.name, "lock"])


@pytest.mark.parametrize("sealing", [True, False], ids=["memory", "disk"])
def test_a_sound_payload_loads_the_best_backend_this_cpu_can_run(
    trial: Trial, trials: Trials, tiny: TinyPayloads, sealing: bool
) -> None:
    for _time in range(2):
        said = trials.one(replace(trial, sealing=sealing))
        assert (said["answer"], said["speed"], said["seal"]) == (ANSWER, 2, "sealed")
        assert all(one.startswith("/memfd:shimmy:") is sealing for one in said["mapped"])
    _sound(trial, tiny)


@pytest.mark.parametrize("how", ["flip", "truncate", "grow", "replace", "symlink", "folder"])
@pytest.mark.parametrize("name", NAMES)
def test_a_packed_file_that_was_changed_is_refused_before_it_is_unpacked(
    trial: Trial, trials: Trials, tiny: TinyPayloads, name: str, how: str
) -> None:
    tamper_with(trial.folder / f"{name}.zst", how, tiny.hostile)
    said = trials.one(trial)
    assert said["code"] == "payload-damaged", said
    assert name in said["message"]
    assert "pip install" in said["hint"]


def test_rights_on_a_packed_file_change_nothing_while_it_can_be_read(
    trial: Trial, trials: Trials, tiny: TinyPayloads
) -> None:
    tamper_with(trial.folder / f"{NAMES[0]}.zst", "chmod", tiny.hostile)
    tamper_with(trial.folder / f"{NAMES[1]}.zst", "hardlink", tiny.hostile)
    assert trials.one(trial)["answer"] == ANSWER
    if not IS_ROOT:
        tamper_with(trial.folder / f"{NAMES[0]}.zst", "lock-out", tiny.hostile)
        assert trials.one(replace(trial, unpacked=trial.record))["code"] == "payload-damaged"


CHANGES = (
    *("flip", "truncate", "grow", "replace", "symlink", "hardlink", "chmod", "lock-out", "remove"),
    *("fifo", "folder"),
)


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("name", LOADED)
def test_an_unpacked_file_that_was_changed_is_healed_and_never_runs(
    trial: Trial, trials: Trials, tiny: TinyPayloads, name: str, how: str
) -> None:
    for sealing in (True, False):
        trials.one(trial)
        digest = _unpacked(trial).name
        tamper_with(_unpacked(trial) / name, how, tiny.hostile)
        said = trials.one(replace(trial, sealing=sealing))
        assert (said["answer"], said["speed"]) == (ANSWER, 2)
        # Told once, by digest and name: a path would name the user.
        (logged,) = said["logged"]
        assert logged.startswith(f"native library {digest} healed: {name} was ")
        assert "/" not in logged
        _sound(trial, tiny)


def test_an_unpacked_file_that_is_not_loaded_is_not_even_looked_at(
    trial: Trial, trials: Trials, tiny: TinyPayloads
) -> None:
    trials.one(trial)
    tamper_with(_unpacked(trial) / "libtiny-cpu-last.so", "replace", tiny.hostile)
    assert trials.one(trial)["answer"] == ANSWER


@pytest.mark.parametrize("how", CHANGES)
@pytest.mark.parametrize("name", LOADED)
def test_between_check_and_load_sealed_memory_cannot_be_changed(
    trial: Trial, trials: Trials, tiny: TinyPayloads, name: str, how: str
) -> None:
    trials.one(trial)
    place = _unpacked(trial) / name
    tamper = {"path": place, "how": how, "hostile": tiny.hostile}
    said = trials.one(replace(trial, tamper=tamper))
    assert (said["answer"], said["speed"]) == (ANSWER, 2)
    assert trials.one(trial)["answer"] == ANSWER
    _sound(trial, tiny)


def test_sealed_memory_takes_no_byte_more(trial: Trial, trials: Trials) -> None:
    said = trials.one(replace(trial, tamper={"path": "", "how": "memory", "hostile": ""}))
    assert (said["answer"], said["heard"]) == (ANSWER, ["refused"])


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        *((how, ANSWER) for how in ("replace", "symlink", "chmod", "remove", "hardlink")),
        ("flip", "library-changed-while-loading"),
        ("grow", "library-changed-while-loading"),
    ],
)
def test_between_check_and_load_on_disk_no_other_file_runs_and_changed_bytes_are_noticed(
    trial: Trial, trials: Trials, tiny: TinyPayloads, how: str, outcome: object
) -> None:
    """The first library is judged, then changed, then loaded through the judged descriptor."""
    trials.one(trial)
    tamper = {"path": _unpacked(trial) / NAMES[0], "how": how, "hostile": tiny.hostile}
    said = trials.one(replace(trial, tamper=tamper, sealing=False))
    assert said.get("answer", said.get("code")) == outcome, said
    assert trials.one(trial)["answer"] == ANSWER
    _sound(trial, tiny)


def test_a_folder_in_place_of_ours_is_healed_or_left_alone(
    trial: Trial, trials: Trials, tiny: TinyPayloads, tmp_path: Path
) -> None:
    trials.one(trial)
    folder, elsewhere = _unpacked(trial), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").write_text("theirs")
    for name in NAMES:
        (elsewhere / name).write_bytes(tiny.hostile.read_bytes())
    for sealing in (True, False):
        # A link where the payload's own folder should be.
        folder.rename(tmp_path / f"aside-{sealing}")
        folder.symlink_to(elsewhere)
        assert trials.one(replace(trial, sealing=sealing))["answer"] == ANSWER
        _sound(trial, tiny)
        # One where the folder of all payloads should be.
        trial.unpacked.rename(tmp_path / f"all-{sealing}")
        trial.unpacked.symlink_to(elsewhere)
        assert trials.one(replace(trial, sealing=sealing))["answer"] == ANSWER
        _sound(trial, tiny)
        # Open to others, or a file.
        folder.chmod(0o777)
        trial.unpacked.chmod(0o755)
        assert trials.one(replace(trial, sealing=sealing))["answer"] == ANSWER
        _sound(trial, tiny)
        folder.rename(tmp_path / f"third-{sealing}")
        folder.write_text("no folder")
        assert trials.one(replace(trial, sealing=sealing))["answer"] == ANSWER
        _sound(trial, tiny)
    assert (elsewhere / "kept").read_text() == "theirs"
    assert len(list(elsewhere.iterdir())) == len(NAMES) + 1


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a folder to another owner")
@pytest.mark.parametrize("planted", ["above", "ours", "payload", "file"])
def test_what_another_owner_planted_is_never_used(
    trial: Trial, trials: Trials, tiny: TinyPayloads, planted: str
) -> None:
    trials.one(trial)
    folder = _unpacked(trial)
    for name in NAMES:
        tamper_with(folder / name, "replace", tiny.hostile)
    place = {
        "above": trial.unpacked.parent,
        "ours": trial.unpacked,
        "payload": folder,
        "file": folder / NAMES[-1],
    }[planted]
    os.chown(place, 1234, 1234)
    said = trials.one(trial)
    assert (said["answer"], said["speed"]) == (ANSWER, 2)
    if planted in ("above", "ours"):
        # Not ours to mend: loaded from the package, the planted place is left as it is.
        assert (folder / NAMES[-1]).read_bytes().startswith(tiny.hostile.read_bytes())
        on_disk = trials.one(replace(trial, sealing=False))
        assert on_disk["answer"] == ANSWER
        assert all(str(trial.unpacked) not in one for one in on_disk["mapped"])
    else:
        _sound(trial, tiny)


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a folder to another owner")
def test_a_way_that_others_may_write_is_not_taken_but_a_sticky_one_is(
    trial: Trial, trials: Trials
) -> None:
    above = trial.unpacked.parent
    above.mkdir()
    above.chmod(0o777)
    assert trials.one(trial)["answer"] == ANSWER
    assert not trial.unpacked.exists()
    above.chmod(0o1777)
    assert trials.one(trial)["answer"] == ANSWER
    assert trial.unpacked.is_dir()


@pytest.mark.skipif(not IS_ROOT, reason="only root can give a file to another owner")
@pytest.mark.parametrize("planted", ["payload", "file"])
def test_even_the_right_bytes_are_unpacked_again_where_another_owner_could_change_them(
    trial: Trial, trials: Trials, planted: str
) -> None:
    trials.one(trial)
    place = _unpacked(trial) / ("" if planted == "payload" else NAMES[0])
    os.chown(place, 1234, 1234)
    assert trials.one(trial)["answer"] == ANSWER
    assert place.stat().st_uid == os.geteuid()
