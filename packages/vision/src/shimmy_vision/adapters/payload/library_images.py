"""What the loader asks of a system: a place to load each library from, and a last look."""

from __future__ import annotations

from typing import Protocol

from shimmy_vision.domain.payload.manifest import PayloadFile


class LibraryImages(Protocol):
    """Bytes that were held against the manifest, where the dynamic linker can reach them."""

    def place(self, file: PayloadFile) -> str:
        """An absolute path. Raises LibraryError, or OSError where this place is no good."""
        ...

    def confirm(self, file: PayloadFile) -> None:
        """After it was loaded. Raises LibraryError where it was changed meanwhile."""
        ...
