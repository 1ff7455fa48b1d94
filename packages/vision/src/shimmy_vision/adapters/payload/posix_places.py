"""Where Linux and macOS load a payload from: sealed memory, else this user's own folders."""

from __future__ import annotations

import atexit
import ctypes
import errno
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from shimmy_vision.adapters.payload.checked_files import CheckedFiles
from shimmy_vision.adapters.payload.library_images import LibraryImages
from shimmy_vision.adapters.payload.linked_libraries import Linker, Loaded, link
from shimmy_vision.adapters.payload.macos_images import MacosImages
from shimmy_vision.adapters.payload.packed_folder import PackedPayload
from shimmy_vision.adapters.payload.sealed_memory import SealedImages, can_seal
from shimmy_vision.adapters.payload.unpacked_folder import UnpackedFolder
from shimmy_vision.domain.payload.manifest import PayloadFile
from shimmy_vision.domain.payload.pinned import APPLE_TEAM
from shimmy_vision.errors import LibraryError

_LOG = logging.getLogger(__name__)


def link_here(
    packed: PackedPayload,
    unpacked: Path | None,
    hear: Loaded,
    linker: Linker,
    *,
    sealing: bool | None,
) -> dict[str, ctypes.CDLL]:
    """The linked libraries by their stems; kept below ``unpacked`` between runs if they can be.

    Raises LibraryError, library-no-place among others.
    """
    kept = None if unpacked is None else UnpackedFolder(unpacked.absolute(), packed)
    try:
        if can_seal() if sealing is None else sealing:
            return link(packed.manifest, SealedImages(_KeptBytes(kept, packed)), hear, linker)
        return _link_from_disk(packed, kept, hear, linker)
    except OSError as error:
        # Half of it may be loaded: there is no second place to go to.
        raise LibraryError(
            "library-no-place",
            "The native library could not be held while it was loaded: "
            f"{error.strerror or type(error).__name__}.",
            hint="Allow this process more memory, open files and file size (ulimit -v -n -f), "
            "or free space on the disk.",
        ) from error


class _KeptBytes:
    """Each library's bytes from the folder where it is kept, or else straight from the pack."""

    def __init__(self, kept: UnpackedFolder | None, packed: PackedPayload) -> None:
        self._kept = kept
        self._packed = packed

    def __call__(self, file: PayloadFile) -> bytes:
        if self._kept is not None:
            try:
                return self._kept.read(file)
            except OSError as error:
                self._kept = None
                _say_unusable(error)
        return self._packed.unpack(file)


def _link_from_disk(
    packed: PackedPayload, kept: UnpackedFolder | None, hear: Loaded, linker: Linker
) -> dict[str, ctypes.CDLL]:
    """From the folder where they are kept, or one that goes with this process."""
    for folder in _folders(packed, kept):
        try:
            for file in packed.manifest.files:
                folder.read(file)  # Before anything is loaded: half of it elsewhere would not do.
            _refuse_no_code(folder.path)
        except OSError as error:
            _say_unusable(error)
            continue
        return link(packed.manifest, _images(folder), hear, linker)
    raise LibraryError(
        "library-no-place",
        "The native library can be unpacked nowhere: neither the cache nor the temporary folder "
        "can be written, is this user's own, and may hold code (noexec).",
        hint="Free space on the disk, or set SHIMMY_CACHE_DIR to a folder that only you can write.",
    )


def _refuse_no_code(folder: Path) -> None:
    """Raises OSError where the disk is mounted so that no code on it runs."""
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise OSError(errno.EACCES, "mounted noexec")


def _folders(packed: PackedPayload, kept: UnpackedFolder | None) -> Iterator[UnpackedFolder]:
    if kept is not None:
        yield kept
    try:
        temporary = Path(tempfile.mkdtemp(prefix="shimmy-"))
    except OSError as error:
        _say_unusable(error)
        return
    atexit.register(shutil.rmtree, temporary, ignore_errors=True)
    yield UnpackedFolder(temporary / "native", packed)


def _images(folder: UnpackedFolder) -> LibraryImages:
    checked = CheckedFiles(folder)
    if sys.platform == "darwin" and APPLE_TEAM:
        return MacosImages(checked, APPLE_TEAM, _status_of)
    return checked


def _status_of(command: Sequence[str]) -> int:
    return subprocess.run(command, capture_output=True, check=False).returncode


def _say_unusable(error: OSError) -> None:
    # The kind alone: a path holds the user's name.
    kind = error.strerror or type(error).__name__
    _LOG.info("native library: a folder cannot be used (%s)", kind)
