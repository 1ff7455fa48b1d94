"""Libraries on Windows: held open so that nobody writes them, loaded with a closed search.

Written against the documented calls and tried with a stand-in for ``kernel32`` only; no Windows
machine has run it (docs/limits.md).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from shimmy_vision.domain.payload.file_trust import judge_bytes
from shimmy_vision.domain.payload.manifest import PayloadFile
from shimmy_vision.errors import LibraryError

GENERIC_READ = 0x8000_0000
FILE_SHARE_READ = 0x1
OPEN_EXISTING = 3
FILE_FLAG_OPEN_REPARSE_POINT = 0x0020_0000
FILE_ATTRIBUTE_REPARSE_POINT = 0x400
LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR = 0x100
LOAD_LIBRARY_SEARCH_USER_DIRS = 0x400
LOAD_LIBRARY_SEARCH_SYSTEM32 = 0x800
_SEARCHED = LOAD_LIBRARY_SEARCH_USER_DIRS | LOAD_LIBRARY_SEARCH_SYSTEM32


class Kernel32(Protocol):
    """The calls that are made, under their own names; handles are integers, 0 is failure."""

    def SetDefaultDllDirectories(self, flags: int) -> int: ...  # noqa: N802

    def AddDllDirectory(self, path: str) -> int: ...  # noqa: N802

    def CreateFileW(  # noqa: N802
        self, path: str, access: int, share: int, creation: int, flags: int
    ) -> int:
        """A handle; -1 is failure."""
        ...

    def attributes(self, handle: int) -> int:
        """``GetFileInformationByHandle``'s dwFileAttributes."""
        ...

    def read(self, handle: int, size: int) -> bytes:
        """``ReadFile`` from the beginning until ``size`` bytes or the end."""
        ...

    def CloseHandle(self, handle: int) -> int: ...  # noqa: N802


class WindowsImages:
    """The ``LibraryImages`` of Windows over an unpacked ``folder``.

    ``restore`` unpacks the folder again. Handles stay open without FILE_SHARE_WRITE and
    FILE_SHARE_DELETE: as long as this process lives, nobody can write, rename or remove what was
    hashed.
    """

    def __init__(self, folder: Path, kernel32: Kernel32, restore: Callable[[], None]) -> None:
        self._folder = folder
        self._kernel32 = kernel32
        self._restore = restore
        # Neither the current folder nor PATH: System32, and ours.
        for said in (
            kernel32.SetDefaultDllDirectories(_SEARCHED),
            kernel32.AddDllDirectory(str(folder)),
        ):
            if not said:
                raise LibraryError(
                    "library-search-open",
                    "Windows did not restrict where libraries are searched for.",
                    hint="Windows 8 or later is needed, or Windows 7 with KB2533623.",
                )

    def place(self, file: PayloadFile) -> str:
        """The absolute path of a file that is held and judged; unpacked again once if it is not."""
        path = str(self._folder / file.name)
        for attempt in range(2):
            handle = self._judged(path, file)
            if handle is not None:
                return path
            if attempt == 0:
                self._restore()
        raise OSError(f"{file.name} cannot be unpacked")

    def confirm(self, file: PayloadFile) -> None:
        """Nothing to do: the handle keeps everybody else from writing."""

    def _judged(self, path: str, file: PayloadFile) -> int | None:
        handle = self._kernel32.CreateFileW(
            path, GENERIC_READ, FILE_SHARE_READ, OPEN_EXISTING, FILE_FLAG_OPEN_REPARSE_POINT
        )
        if handle == -1:
            return None
        link = self._kernel32.attributes(handle) & FILE_ATTRIBUTE_REPARSE_POINT
        if not link and judge_bytes(file, self._kernel32.read(handle, file.size + 1)) is None:
            return handle
        self._kernel32.CloseHandle(handle)
        return None


def load_from_here_alone(path: str) -> ctypes.CDLL:
    """``LoadLibraryExW`` by absolute path; what it needs comes from its folder or System32."""
    return ctypes.CDLL(path, winmode=LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | _SEARCHED)
