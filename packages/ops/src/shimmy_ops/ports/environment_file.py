"""The file that the store is started with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class EnvironmentFile(Protocol):
    """Raises KeepingError."""

    def write(self, lines: Sequence[str]) -> None:
        """All or nothing, for its owner's eyes only."""
