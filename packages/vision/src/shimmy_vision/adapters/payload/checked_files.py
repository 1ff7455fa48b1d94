"""Libraries loaded from disk, where memory cannot be sealed.

A file is judged through the descriptor that it is then loaded through, so nobody can put another
in its place in between. What is written into that very file meanwhile, which only this same user
could do, is noticed afterwards; so is another file of its name where a system (macOS) can load by
name alone.
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
        self._named: set[str] = set()  # Loaded by name, for want of a way through the descriptor.

    def place(self, file: PayloadFile) -> str:
        """A path under which the judged file can be loaded; absolute in any case."""
        descriptor, _data = self._folder.open(file)
        self._open[file.name] = descriptor
        through = self._descriptors / str(descriptor)
        if through.exists():
            return str(through)
        self._named.add(file.name)
        return str(self._folder.path / file.name)

    def confirm(self, file: PayloadFile) -> None:
        """Judge it again, now that it is loaded, by name and by descriptor.

        Raises LibraryError with code library-changed-while-loading.
        """
        descriptor = self._open[file.name]
        data = os.pread(descriptor, file.size + 1, 0)
        if judge_bytes(file, data) is not None or not self._is_still_named(descriptor, file):
            raise LibraryError(
                "library-changed-while-loading",
                f"The unpacked native library was changed while it was loaded: {file.name}.",
                hint="Another program of this user writes there. Find it, then try again.",
            )

    def _is_still_named(self, descriptor: int, file: PayloadFile) -> bool:
        if file.name not in self._named:
            return True
        try:
            now = os.lstat(self._folder.path / file.name)
        except OSError:
            return False
        return os.path.samestat(now, os.fstat(descriptor))
