"""A document with personal data, where nothing was before."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.errors import KeepingError


class NewDocument:
    """The ``NewDocument`` port: one file, mode 0600."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def refuse_existing(self) -> None:
        if os.path.lexists(self._path):
            raise _taken(self._path)

    def write(self, text: str) -> None:
        whole = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            write_private(whole, text)
            # Unlike a rename a link takes nobody's place.
            os.link(whole, self._path)
        except FileExistsError:
            raise _taken(self._path) from None
        except OSError as error:
            raise KeepingError(
                "file-unwritable",
                f"{self._path} cannot be written: {error.strerror or type(error).__name__}.",
            ) from error
        finally:
            with suppress(OSError):
                whole.unlink(missing_ok=True)


def _taken(path: Path) -> KeepingError:
    return KeepingError(
        "file-exists", f"{path} exists and is not overwritten.", hint="Name another file."
    )
