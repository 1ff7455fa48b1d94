"""The ``Safe`` port as a folder with one file a secret."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from pathlib import Path

from shimmy_ops.adapters.keeping.private_files import read_private, write_private
from shimmy_ops.errors import KeepingError


class FileSafe:
    """``folder`` is made when it is first needed, for its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()

    def prepare(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = self._folder / ".probe"
            write_private(probe, "")
            probe.unlink()
        except OSError as error:
            raise KeepingError(
                "secrets-folder-unusable",
                f"{self._folder} cannot be used: {error.strerror or type(error).__name__}.",
            ) from error

    def held(self, names: Iterable[str]) -> frozenset[str]:
        # Read, and not only looked for: one that others may read is refused here.
        return frozenset(
            name
            for name in names
            if (self._folder / name).is_file() and read_private(self._folder / name)
        )

    def keep(self, name: str, secret: str) -> None:
        write_private(self._folder / name, f"{secret}\n")

    def read(self, name: str) -> str | None:
        path = self._folder / name
        return read_private(path) or None if path.is_file() else None

    def forget(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise KeepingError(
                "secret-not-forgotten",
                f"{self._folder / name} cannot be removed: {error.strerror}.",
            ) from error

    def assignment(self, variable: str, name: str) -> str:
        return f"export {variable}_FILE={shlex.quote(str(self._folder / name))}"
