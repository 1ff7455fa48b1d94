"""Where Windows loads a payload from: this user's own folder, held open.

No Windows machine has run it (docs/limits.md).
"""

from __future__ import annotations

import ctypes
import hashlib
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from shimmy_vision.adapters.payload.linked_libraries import Linker, Loaded, link
from shimmy_vision.adapters.payload.packed_folder import PackedPayload
from shimmy_vision.adapters.payload.replaced_files import replace_files
from shimmy_vision.adapters.payload.windows_images import (
    Kernel32,
    WindowsImages,
    load_from_here_alone,
)
from shimmy_vision.domain.payload.manifest import canonical_bytes
from shimmy_vision.errors import LibraryError

_ATTRIBUTES_AT, _INFORMATION_BYTES = 0, 52
_FAILED = -1


def link_here(
    packed: PackedPayload,
    unpacked: Path | None,
    hear: Loaded,
    linker: Linker,  # noqa: ARG001 - Windows has one way to load with a closed search
    *,
    sealing: bool | None,  # noqa: ARG001 - Windows has no sealed memory
) -> dict[str, ctypes.CDLL]:
    """The linked libraries by their stems. Raises LibraryError, library-no-place among others."""
    name = hashlib.sha256(canonical_bytes(packed.manifest)).hexdigest()[:32]
    for root in _roots(unpacked):
        folder = root / name
        try:
            replace_files(folder, packed)
            images = WindowsImages(folder, RealKernel32(), partial(replace_files, folder, packed))
            return link(packed.manifest, images, hear, load_from_here_alone)
        except OSError:
            continue
    raise LibraryError(
        "library-no-place",
        "The native library can be unpacked nowhere: neither the cache nor the temporary folder "
        "can be written.",
        hint="Free space on the disk.",
    )


def _roots(unpacked: Path | None) -> Iterator[Path]:
    if unpacked is not None:
        yield unpacked.absolute()
    yield Path(tempfile.mkdtemp(prefix="shimmy-"))


class RealKernel32:
    """``Kernel32`` over the system's own."""

    def __init__(self) -> None:
        self._calls: Any = getattr(ctypes, "WinDLL")("kernel32", use_last_error=True)  # noqa: B009
        for name in ("AddDllDirectory", "CreateFileW"):
            getattr(self._calls, name).restype = ctypes.c_void_p

    def SetDefaultDllDirectories(self, flags: int) -> int:  # noqa: N802
        return int(self._calls.SetDefaultDllDirectories(flags))

    def AddDllDirectory(self, path: str) -> int:  # noqa: N802
        return int(self._calls.AddDllDirectory(path) or 0)

    def CreateFileW(  # noqa: N802
        self, path: str, access: int, share: int, creation: int, flags: int
    ) -> int:
        handle = self._calls.CreateFileW(path, access, share, None, creation, flags, None)
        return _FAILED if handle in (None, ctypes.c_void_p(-1).value) else int(handle)

    def attributes(self, handle: int) -> int:
        """The first field of BY_HANDLE_FILE_INFORMATION; all bits set where it cannot be had."""
        found = ctypes.create_string_buffer(_INFORMATION_BYTES)
        if not self._calls.GetFileInformationByHandle(ctypes.c_void_p(handle), found):
            return 0xFFFF_FFFF
        return int.from_bytes(found.raw[_ATTRIBUTES_AT : _ATTRIBUTES_AT + 4], "little")

    def read(self, handle: int, size: int) -> bytes:
        """``ReadFile`` until ``size`` bytes or the end."""
        data, got = ctypes.create_string_buffer(size), ctypes.c_uint32()
        done = self._calls.ReadFile(ctypes.c_void_p(handle), data, size, ctypes.byref(got), None)
        return data.raw[: got.value] if done else b""

    def CloseHandle(self, handle: int) -> int:  # noqa: N802
        return int(self._calls.CloseHandle(ctypes.c_void_p(handle)))


_CHECKED: type[Kernel32] = RealKernel32
