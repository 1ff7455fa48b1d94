"""Files that nobody but their owner may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from shimmy_ops.errors import KeepingError

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_private(path: Path) -> str:
    """Its text without blanks around it. Raises KeepingError where others may read it, too."""
    try:
        with path.open("rb") as file:
            # Of the file that is open, so that nothing can be exchanged in between.
            mode = os.fstat(file.fileno()).st_mode
            if mode & _OTHERS:
                raise KeepingError(
                    "secret-file-open",
                    f"{path} may be read by others (mode {stat.S_IMODE(mode):04o}): not used.",
                    hint=f"chmod 600 {path}, and replace the secret if others had an account here.",
                )
            return file.read().decode("utf-8").strip()
    except (OSError, ValueError) as error:
        raise KeepingError(
            "secret-file-unreadable", f"{path} cannot be read: {type(error).__name__}."
        ) from error


def write_private(path: Path, text: str) -> None:
    """Whole or not at all, and on the disk when this returns. Raises KeepingError.

    It takes the place of a file, never of a device or a pipe.
    """
    if path.exists() and not path.is_file():
        raise KeepingError("file-unwritable", f"{path} is no plain file: not replaced.")
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        settle(path.parent)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise KeepingError(
            "file-unwritable",
            f"{path} cannot be written: {error.strerror or type(error).__name__}.",
        ) from error


def settle(path: Path) -> None:
    """On the disk when this returns; a new name is when its folder is. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PrivateEnvironmentFile:
    """The ``EnvironmentFile`` port."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, lines: Sequence[str]) -> None:
        write_private(self._path, "".join(f"{line}\n" for line in lines))
