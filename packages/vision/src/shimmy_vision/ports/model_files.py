"""Reading model files that are already on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

from shimmy_vision.domain.model.gguf import GgufHeader
from shimmy_vision.ports.cancellation import Cancellation

ByteProgress: TypeAlias = Callable[[int, int], None]
"""Called with (bytes done, bytes in all; 0 if not known)."""


def ignore_bytes(_done: int, _total: int) -> None:
    """For callers that show nothing."""


class ModelFiles(Protocol):
    """Headers and digests; a digest is remembered until the file changes."""

    def header(self, path: Path) -> GgufHeader:
        """Raises ModelError if the file is missing, unreadable or no sound GGUF."""
        ...

    def remember(self, path: Path, digest: str) -> None:
        """Record a digest that was just taken of exactly this file."""
        ...

    def sha256(
        self, path: Path, *, rehash: bool, progress: ByteProgress, cancellation: Cancellation
    ) -> str:
        """Hex digest; read from the file if ``rehash`` or if it changed since it was taken."""
        ...
