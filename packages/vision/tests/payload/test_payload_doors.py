"""Single doors of the loader, each tried alone: what keeps it shut is missed if it is taken out."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import mmap
import os
import secrets
import subprocess
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from payloads import ANSWER, NAMES, PUBLIC, TinyPayloads, Trial, Trials

from shimmy_vision.adapters.engine.child_probe import command_of_this_program
from shimmy_vision.adapters.files.json_record import read_record
from shimmy_vision.adapters.payload import (
    linked_libraries,
    posix_places,
    sealed_memory,
    unpacked_folder,
)
from shimmy_vision.adapters.payload.checked_files import CheckedFiles
from shimmy_vision.adapters.payload.packed_folder import PackedPayload, compress
from shimmy_vision.adapters.payload.payload_vault import open_packed
from shimmy_vision.adapters.payload.private_folder import open_private_folder
from shimmy_vision.adapters.payload.sealed_memory import SealedImages, can_seal
from shimmy_vision.adapters.payload.unpacked_folder import UnpackedFolder
from shimmy_vision.domain.payload.file_trust import judge_bytes, judge_packed
from shimmy_vision.domain.payload.manifest import PayloadFile
from shimmy_vision.errors import LibraryError


@pytest.fixture
def packed(tiny: TinyPayloads, tmp_path: Path) -> PackedPayload:
    tiny.pack(tmp_path / "packed")
    return open_packed(tmp_path / "packed", PUBLIC)


def _file(data: bytes, packed: bytes) -> PayloadFile:
    digests = hashlib.sha256(data).hexdigest(), hashlib.sha256(packed).hexdigest()
    return PayloadFile(
        "libx.so", "x", "libx.so", "library", len(data), digests[0], len(packed), digests[1]
    )


def test_packed_and_unpacked_bytes_are_each_judged_by_size_and_by_digest() -> None:
    data, small = b"library", b"packed"
    file = _file(data, small)
    assert judge_bytes(file, data) is None
    assert judge_bytes(file, data + b"x") == "wrong-size"
    assert judge_bytes(file, b"LIBRARY") == "wrong-digest"
    assert judge_packed(file, small) is None
    assert judge_packed(file, small + b"x") == "wrong-size"
    assert judge_packed(file, b"PACKED") == "wrong-digest"


def test_a_file_that_unpacks_to_far_more_than_it_says_is_stopped_at_its_size(
    packed: PackedPayload, tmp_path: Path
) -> None:
    bomb = compress(bytes(64 << 20), 3)
    file = replace(_file(bytes(1000), bomb), name="bomb")
    (packed.folder / "bomb.zst").write_bytes(bomb)
    tracemalloc.start()
    try:
        with pytest.raises(LibraryError) as refused:
            packed.unpack(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.code == "payload-damaged"
    assert peak < 8 << 20


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig", f"{NAMES[0]}.zst"])
def test_a_pipe_in_the_place_of_a_packed_file_keeps_nobody_waiting(
    packed: PackedPayload, name: str
) -> None:
    (packed.folder / name).unlink()
    os.mkfifo(packed.folder / name)
    with pytest.raises(LibraryError) as refused:
        open_packed(packed.folder, PUBLIC).unpack(packed.manifest.files[0])
    assert refused.value.code.startswith("payload-")


def test_a_link_that_comes_into_the_way_after_it_was_resolved_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs/cache").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    monkeypatch.setattr(Path, "resolve", lambda self, **_: self)
    with pytest.raises(OSError, match=r"link|directory"):
        open_private_folder(tmp_path / "link/cache/native")
    assert not (tmp_path / "theirs/cache/native").exists()


def test_the_folder_that_was_judged_is_the_one_that_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "native"
    ours.mkdir(mode=0o700)
    judged, real = ours.stat().st_ino, os.chmod

    def swapping(path: Any, mode: int, **more: Any) -> None:
        real(path, mode, **more)
        if path == "native" and not (tmp_path / "aside").exists():
            ours.rename(tmp_path / "aside")
            ours.mkdir(mode=0o777)

    monkeypatch.setattr(os, "chmod", swapping)
    descriptor = open_private_folder(ours)
    assert os.fstat(descriptor).st_ino == judged
    os.close(descriptor)


def test_folders_on_the_way_are_made_for_this_user_alone_whatever_the_umask(
    tmp_path: Path,
) -> None:
    before = os.umask(0)
    try:
        os.close(open_private_folder(tmp_path / "a/b/native"))
    finally:
        os.umask(before)
    assert {one.stat().st_mode & 0o777 for one in tmp_path.glob("a/**/")} == {0o700}


def test_a_lock_that_is_a_link_makes_nothing_elsewhere(
    packed: PackedPayload, tmp_path: Path
) -> None:
    folder = UnpackedFolder(tmp_path / "native", packed)
    (tmp_path / "native").mkdir(mode=0o700)
    (tmp_path / "native/lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"."):
        folder.read(packed.manifest.files[0])
    assert not (tmp_path / "elsewhere").exists()


def test_whoever_holds_the_lock_for_ever_is_not_waited_for_for_ever(
    packed: PackedPayload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacked_folder, "_LOCK_SECONDS", 0.05)
    (tmp_path / "native").mkdir(mode=0o700)
    with (tmp_path / "native/lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError):
            UnpackedFolder(tmp_path / "native", packed).read(packed.manifest.files[0])


def test_nothing_that_lies_there_already_is_written_through(
    packed: PackedPayload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody of this user who guessed the name of what is being written beside."""
    victim, planted = tmp_path / "victim", tmp_path / "native/.new-guessed"
    victim.write_text("kept")
    planted.mkdir(parents=True, mode=0o700)
    (planted / NAMES[0]).symlink_to(victim)
    monkeypatch.setattr(secrets, "token_hex", lambda _: "guessed")
    monkeypatch.setattr(UnpackedFolder, "_sweep", lambda *_: None)
    with pytest.raises(FileExistsError):
        UnpackedFolder(tmp_path / "native", packed).read(packed.manifest.files[0])
    assert victim.read_text() == "kept"


def test_every_file_and_folder_is_on_the_disk_before_it_gets_its_name(
    packed: PackedPayload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        done.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        sync(descriptor)

    def renamed(source: str, target: str, **more: Any) -> None:
        done.append(f"named {target}")
        rename(source, target, **more)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    folder = UnpackedFolder(tmp_path / "native", packed)
    folder.read(packed.manifest.files[0])
    assert done[: len(NAMES)] == list(NAMES)
    assert done[len(NAMES)].startswith(".new-")
    assert done[len(NAMES) + 1 :] == [f"named {folder.name}", "native"]


def test_sealed_memory_has_every_seal(packed: PackedPayload) -> None:
    images, file = SealedImages(packed.unpack), packed.manifest.files[0]
    descriptor = int(Path(images.place(file)).name)
    seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    os.close(descriptor)
    wanted = (fcntl.F_SEAL_SHRINK, fcntl.F_SEAL_GROW, fcntl.F_SEAL_WRITE, fcntl.F_SEAL_SEAL)
    assert [name for name in wanted if not seals & name] == []


def test_bytes_that_changed_on_their_way_into_sealed_memory_are_noticed(
    packed: PackedPayload,
) -> None:
    open_before = _sealed_memory()
    file = packed.manifest.files[0]
    with pytest.raises(LibraryError) as refused:
        SealedImages(lambda _: bytes(file.size)).place(file)
    assert refused.value.code == "library-changed-in-memory"
    assert _sealed_memory() == open_before


def _sealed_memory() -> list[str]:
    """What of it is open here; others of this process may open and close what they like."""
    found = []
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(str(one.readlink()))
    return sorted(one for one in found if one.startswith("/memfd:"))


def _old_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 6.3 a flag is unknown; before 6.7 sealed memory is never mapped as shared."""
    create, real = os.memfd_create, mmap.mmap

    def made(name: str, flags: int) -> int:
        if flags & 0x10:
            raise OSError(errno.EINVAL, "Invalid argument")
        return create(name, flags)

    def mapped(
        descriptor: int, length: int, flags: int = mmap.MAP_SHARED, *more: int, **_: int
    ) -> mmap.mmap:
        if flags & mmap.MAP_SHARED and fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & 0x8:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return real(descriptor, length, flags, *more)

    monkeypatch.setattr(os, "memfd_create", made)
    monkeypatch.setattr(mmap, "mmap", mapped)


def test_an_older_kernel_has_sealed_memory_all_the_same(
    packed: PackedPayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    _old_kernel(monkeypatch)
    assert can_seal()
    file = packed.manifest.files[0]
    descriptor = int(Path(SealedImages(packed.unpack).place(file)).name)
    assert os.pread(descriptor, file.size, 0) == packed.unpack(file)
    os.close(descriptor)


def _refused(*_: object, **__: object) -> Any:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize(
    "refuse",
    [
        lambda patch: patch.setattr(os, "memfd_create", _refused),
        lambda patch: patch.delattr(os, "memfd_create"),
        lambda patch: patch.setattr(mmap, "mmap", _refused),
        lambda patch: patch.setattr(sealed_memory, "_seal", _refused),
        lambda patch: patch.setattr(sealed_memory, "_DESCRIPTORS", Path("/nowhere")),
    ],
    ids=["refused", "missing", "not-for-code", "no-seals", "no-proc"],
)
def test_a_system_without_sealed_memory_for_code_is_known_before_anything_is_loaded(
    refuse: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert can_seal()
    refuse(monkeypatch)
    assert not can_seal()


def test_memory_that_runs_out_in_the_middle_is_told_in_words(
    packed: PackedPayload, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(sealed_memory, "_create", full)
    # Another test of this process may have loaded the library.
    monkeypatch.setattr(linked_libraries, "mapped_names", tuple)
    with pytest.raises(LibraryError) as refused:
        posix_places.link_here(packed, None, lambda *_: None, ctypes.CDLL, sealing=True)
    assert refused.value.code == "library-no-place"
    assert "Too many open files" in refused.value.message
    assert "ulimit" in refused.value.hint


def test_a_disk_from_which_no_code_runs_is_no_place(
    packed: PackedPayload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def noexec(path: Path) -> Any:
        asked.append(path)
        return SimpleNamespace(f_flag=os.ST_NOEXEC)

    monkeypatch.setattr(os, "statvfs", noexec)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(tmp_path / "own"))
    (tmp_path / "own").mkdir(mode=0o700)
    with pytest.raises(LibraryError) as refused:
        posix_places.link_here(packed, tmp_path / "kept", lambda *_: None, _refused, sealing=False)
    assert refused.value.code == "library-no-place"
    assert "noexec" in refused.value.message
    assert [one.parent for one in asked] == [tmp_path / "kept", tmp_path / "own/native"]


@pytest.mark.parametrize("name", ["libtiny-base.so.0", "libtiny-base.so", "libtiny-top.so.0.9"])
def test_another_version_of_a_library_of_ours_in_this_process_is_refused_too(
    packed: PackedPayload, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linked_libraries, "mapped_names", lambda: {"libc.so.6", name})
    with pytest.raises(LibraryError) as refused:
        linked_libraries.link(packed.manifest, SealedImages(packed.unpack), lambda *_: None)
    assert refused.value.code == "library-already-loaded"
    assert name in refused.value.message


@pytest.mark.parametrize("how", ["nothing", "replaced", "linked", "removed"])
def test_where_a_file_is_loaded_by_its_name_another_one_of_that_name_is_noticed(
    packed: PackedPayload, tmp_path: Path, how: str
) -> None:
    """macOS has no way through a descriptor."""
    folder, file = UnpackedFolder(tmp_path / "native", packed), packed.manifest.files[0]
    images = CheckedFiles(folder, descriptors=tmp_path / "nowhere")
    place = Path(images.place(file))
    assert place.is_absolute()
    if how != "nothing":
        place.rename(place.with_name("aside"))
    if how == "replaced":
        place.write_bytes(packed.unpack(file))
    if how == "linked":
        place.symlink_to(place.with_name("aside"))
    if how == "nothing":
        images.confirm(file)
        return
    with pytest.raises(LibraryError) as refused:
        images.confirm(file)
    # The same inode under a link is the same file, but nobody promises what it was a moment ago.
    assert refused.value.code == "library-changed-while-loading"


def test_what_nobody_signed_has_no_say_over_later_versions(
    tiny: TinyPayloads, trials: Trials, tmp_path: Path
) -> None:
    trial = Trial(tmp_path / "packed", tmp_path / "cache/native", tmp_path / "seen.json")
    tiny.pack(trial.folder, key=None, version=10**15, minimum=10**15)
    assert trials.one(replace(trial, public_key=""))["seal"] == "development"
    assert not trial.record.exists()
    tiny.pack(trial.folder, version=5)
    assert trials.one(trial)["answer"] == ANSWER
    # Nor is it held back by what was signed.
    (trial.folder / "manifest.sig").unlink()
    tiny.pack(trial.folder, key=None, version=1)
    assert trials.one(replace(trial, public_key=""))["answer"] == ANSWER
    assert json.loads(trial.record.read_text()) == {"highest": 5, "minimum": 1}


def test_a_record_that_nests_too_deep_counts_as_damaged(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text("[" * 200_000)
    assert read_record(tmp_path / "record.json") == {}


def test_a_child_of_this_program_takes_no_module_from_the_current_folder(tmp_path: Path) -> None:
    """Whoever runs ``shimmy vision`` in a folder of downloads runs nothing that lies there."""
    (tmp_path / "shimmy_vision").mkdir()
    planted = f"open({str(tmp_path / 'ran')!r}, 'w')"
    for name in ("shimmy_vision/__init__.py", "shimmy_vision/__main__.py", "json.py", "numpy.py"):
        (tmp_path / name).write_text(planted)
    done = subprocess.run(
        (*command_of_this_program("probe-engine"), "--help"),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_link_to_the_right_bytes_is_no_file_of_ours(
    packed: PackedPayload, tmp_path: Path
) -> None:
    folder, file = UnpackedFolder(tmp_path / "native", packed), packed.manifest.files[0]
    folder.read(file)
    twin = tmp_path / "twin"
    (folder.path / file.name).rename(twin)
    (folder.path / file.name).symlink_to(twin)
    folder.read(file)
    assert not (folder.path / file.name).is_symlink()


def test_a_folder_whose_rights_were_taken_away_gets_them_back(tmp_path: Path) -> None:
    (tmp_path / "native").mkdir()
    (tmp_path / "native").chmod(0o100)
    os.close(open_private_folder(tmp_path / "native"))
    assert (tmp_path / "native").stat().st_mode & 0o777 == 0o700
