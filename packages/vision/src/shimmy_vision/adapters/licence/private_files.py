"""The licence state's files: which they are, and that nobody but their owner reads them."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path


def keep_private(files: Iterable[Path], locks: Sequence[Path]) -> None:
    """Take others' rights from what is there; the first of ``files`` must be there.

    Raises PermissionError where this process may not write, as SQLite only notices later: to open
    the file here would drop the locks that this process may hold on it elsewhere.
    """
    places = [*files]
    for place in (*places, *locks):
        with suppress(FileNotFoundError):
            if place.stat().st_mode & 0o077:
                place.chmod(0o600)
    for place in (places[0], *locks):
        if place.exists() and not os.access(place, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def file_identity(path: Path) -> tuple[int, int] | None:
    """The same for the same file under any name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
