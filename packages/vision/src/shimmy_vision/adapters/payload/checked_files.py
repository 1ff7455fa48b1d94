"""Libraries loaded from disk, where memory cannot be sealed.

A file is judged through the descriptor that it is then loaded through, so nobody can put another
in its place in between. What is written into that very file meanwhile, which only this same user
could do, is noticed afterwards.
"""

from __future__ import annotations

import os
from pathlib import Path

from shimmy_vision.adapters.payload.unpacked_folder import UnpackedFolder
from shimmy_vision.domain.payload.file_trust import judge_bytes
from shimmy_vision.domain.payload.manifest import PayloadFile
from shimmy_vision.errors import LibraryError


class CheckedFiles:
    """The ``LibraryImages`` of systems without sealed memory; descriptors stay open."""

    def __init__(self, folder: UnpackedFolder, descriptors: Path = Path("/proc/self/fd")) -> None:
        self._folder = folder
        self._descriptors = descriptors
        self._open: dict[str, int] = {}

    def place(self, file: PayloadFile) -> str:
        """A path under which the judged file can be loaded; absolute in any case."""
        descriptor, _data = self._folder.open(file)
        self._open[file.name] = descriptor
        through = self._descriptors / str(descriptor)
        return str(through if through.exists() else self._folder.path / file.name)

    def confirm(self, file: PayloadFile) -> None:
        """Judge it again, now that it is loaded, by name and by descriptor.

        Raises LibraryError with code library-changed-while-loading.
        """
        data = os.pread(self._open[file.name], file.size + 1, 0)
        fault = judge_bytes(file, data)
        if fault is not None:
            raise LibraryError(
                "library-changed-while-loading",
                f"The unpacked native library was changed while it was loaded: {file.name}.",
                hint="Another program of this user writes there. Find it, then try again.",
            )
