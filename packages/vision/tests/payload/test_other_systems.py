"""Windows' and macOS' ways of loading, tried with stand-ins for what these systems do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from payload_trials import tamper_with
from payloads import TinyPayloads

from shimmy_vision.adapters.payload.macos_images import MacosImages
from shimmy_vision.adapters.payload.packed_folder import PackedPayload
from shimmy_vision.adapters.payload.replaced_files import replace_files
from shimmy_vision.adapters.payload.windows_images import (
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_SHARE_READ,
    GENERIC_READ,
    OPEN_EXISTING,
    WindowsImages,
)
from shimmy_vision.domain.payload.manifest import PayloadFile
from shimmy_vision.errors import LibraryError


class FakeKernel32:
    """Files are real; who holds what is written down."""

    def __init__(self, *, restricts: bool = True) -> None:
        self.restricts = restricts
        self.searched: list[str] = []
        self.flags = 0
        self.held: dict[int, Path] = {}
        self.shares: list[int] = []
        self.accesses: list[tuple[int, int]] = []

    def SetDefaultDllDirectories(self, flags: int) -> int:  # noqa: N802
        self.flags = flags
        return int(self.restricts)

    def AddDllDirectory(self, path: str) -> int:  # noqa: N802
        self.searched.append(path)
        return 1

    def CreateFileW(  # noqa: N802
        self, path: str, access: int, share: int, creation: int, flags: int
    ) -> int:
        if not Path(path).exists() and not Path(path).is_symlink():
            return -1
        self.shares.append(share)
        self.accesses.append((access, creation))
        number = len(self.shares)
        if not flags & FILE_FLAG_OPEN_REPARSE_POINT:
            path = os.path.realpath(path)  # As Windows does unless it is told not to.
        self.held[number] = Path(path)
        return number

    def attributes(self, handle: int) -> int:
        return FILE_ATTRIBUTE_REPARSE_POINT if self.held[handle].is_symlink() else 0x20

    def read(self, handle: int, size: int) -> bytes:
        return self.held[handle].read_bytes()[:size]

    def CloseHandle(self, handle: int) -> int:  # noqa: N802
        del self.held[handle]
        return 1


@pytest.fixture
def packed(tiny: TinyPayloads, tmp_path: Path) -> PackedPayload:
    manifest = tiny.pack(tmp_path / "packed", key=None)
    return PackedPayload(tmp_path / "packed", manifest, "development")


def test_windows_holds_each_file_and_closes_the_search(
    packed: PackedPayload, tmp_path: Path
) -> None:
    folder, kernel32 = tmp_path / "unpacked", FakeKernel32()
    replace_files(folder, packed)
    images = WindowsImages(folder, kernel32, partial(replace_files, folder, packed))
    assert kernel32.flags == 0xC00  # user folders and System32: neither PATH nor the current one
    assert kernel32.searched == [str(folder)]
    for file in packed.manifest.files:
        assert Path(images.place(file)) == folder / file.name
        images.confirm(file)
    # Neither writing nor deleting is shared, and the handles stay open.
    assert set(kernel32.shares) == {FILE_SHARE_READ}
    assert set(kernel32.accesses) == {(GENERIC_READ, OPEN_EXISTING)}
    assert [one.name for one in kernel32.held.values()] == [
        one.name for one in packed.manifest.files
    ]


def test_a_link_to_the_right_bytes_is_replaced_by_a_file_of_ours(
    packed: PackedPayload, tiny: TinyPayloads, tmp_path: Path
) -> None:
    folder, file = tmp_path / "unpacked", packed.manifest.files[0]
    replace_files(folder, packed)
    twin = tmp_path / "twin"
    (folder / file.name).rename(twin)
    (folder / file.name).symlink_to(twin)
    kernel32 = FakeKernel32()
    # Who can change the link's target could change it after it was judged.
    images = WindowsImages(folder, kernel32, lambda: None)
    with pytest.raises(OSError, match="cannot be unpacked"):
        images.place(file)
    assert kernel32.held == {}
    replace_files(folder, packed)
    assert not (folder / file.name).is_symlink()
    assert (folder / file.name).read_bytes() == tiny.libraries[0].data


@pytest.mark.parametrize("how", ["flip", "truncate", "replace", "symlink", "remove"])
def test_windows_unpacks_a_changed_file_again(
    packed: PackedPayload, tiny: TinyPayloads, tmp_path: Path, how: str
) -> None:
    folder, kernel32 = tmp_path / "unpacked", FakeKernel32()
    replace_files(folder, packed)
    images = WindowsImages(folder, kernel32, partial(replace_files, folder, packed))
    file = packed.manifest.files[0]
    tamper_with(folder / file.name, how, tiny.hostile)
    assert Path(images.place(file)).read_bytes() == tiny.libraries[0].data
    assert len(kernel32.held) == 1
    tamper_with(folder / file.name, how, tiny.hostile)
    idle = WindowsImages(folder, kernel32, lambda: None)
    with pytest.raises(OSError, match="cannot be unpacked"):
        idle.place(file)


def test_windows_that_cannot_close_the_search_is_refused(
    packed: PackedPayload, tmp_path: Path
) -> None:
    with pytest.raises(LibraryError) as refused:
        WindowsImages(tmp_path, FakeKernel32(restricts=False), lambda: None)
    assert refused.value.code == "library-search-open"


class FakeImages:
    """Judged files that are where they are."""

    def __init__(self) -> None:
        self.confirmed: list[str] = []

    def place(self, file: PayloadFile) -> str:
        return f"/judged/{file.name}"

    def confirm(self, file: PayloadFile) -> None:
        self.confirmed.append(file.name)


def test_macos_asks_codesign_for_the_team_that_signed_the_program(packed: PackedPayload) -> None:
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> int:
        asked.append(command)
        return 0 if len(asked) == 1 else 1

    checked, file = FakeImages(), packed.manifest.files[0]
    images = MacosImages(checked, "AB12CD34EF", run)
    assert images.place(file) == f"/judged/{file.name}"
    images.confirm(file)
    assert checked.confirmed == [file.name]
    (command,) = asked
    assert command[0] == "/usr/bin/codesign"
    assert "--strict" in command
    assert command[-2] == (
        '-R=anchor apple generic and certificate leaf[subject.OU] = "AB12CD34EF"'
    )
    assert command[-1] == f"/judged/{file.name}"
    with pytest.raises(LibraryError) as refused:
        images.place(file)
    assert refused.value.code == "library-not-codesigned"


@pytest.mark.parametrize("team", ["", "short", 'A" or true', "ab12cd34ef"])
def test_macos_takes_no_team_that_is_none(team: str) -> None:
    with pytest.raises(ValueError, match="ten"):
        MacosImages(FakeImages(), team, lambda _command: 0)
