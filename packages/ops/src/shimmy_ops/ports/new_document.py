"""Where a document goes that must take nothing's place."""

from __future__ import annotations

from typing import Protocol


class NewDocument(Protocol):
    """Every method raises KeepingError."""

    def refuse_existing(self) -> None:
        """Raises where something is there: before anything is read for it."""

    def write(self, text: str) -> None:
        """Whole or not at all, for its owner's eyes only."""
