"""Renames that a cut of the power does not undo, nor leaves with half a file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

# Some network file systems cannot sync a folder.
_NOT_THERE = (errno.EINVAL, errno.ENOTSUP)


def replace_durably(beside: Path, target: Path) -> None:
    """Put ``beside`` in ``target``'s place; once this returns it is on the disk. Raises OSError."""
    # Windows syncs only what may be written.
    with beside.open("r+b") as file:
        os.fsync(file.fileno())
    beside.replace(target)
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Have the names in ``folder`` on the disk. Raises OSError."""
    if os.name != "posix":
        return  # Windows renames durably and cannot open folders
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise
    finally:
        os.close(handle)
