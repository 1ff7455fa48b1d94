"""Unpacks a payload into a folder file by file, each put in its place whole.

For systems where a folder that is in use cannot be swapped for another.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from shimmy_vision.adapters.payload.packed_folder import PackedPayload
from shimmy_vision.domain.payload.file_trust import judge_bytes

_LOCK_SECONDS = 20.0


def replace_files(folder: Path, packed: PackedPayload) -> None:
    """Whatever is not as packed is written beside and renamed over; the rest stays untouched.

    Raises OSError where the folder cannot be used, LibraryError where the packed file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with FileLock(folder.with_name(f"{folder.name}.lock"), timeout=_LOCK_SECONDS):
            for file in packed.manifest.files:
                target = folder / file.name
                if target.is_symlink() or judge_bytes(file, _read(target, file.size)) is not None:
                    _put(target, packed.unpack(file))
    except Timeout as error:
        raise TimeoutError("another process holds the lock") from error


def _read(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size + 1)
    except OSError:
        return b""


def _put(target: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
