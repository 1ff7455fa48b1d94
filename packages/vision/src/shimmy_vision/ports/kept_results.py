"""Finished results, kept for whoever asks the very same again."""

from __future__ import annotations

from typing import Any, Protocol


class KeptResults(Protocol):
    """Bounded; safe to use from several threads."""

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all: making a key means reading every pixel."""
        ...

    def find(self, key: str) -> dict[str, Any] | None:
        """A copy of what was kept under ``key``, if it is still there."""
        ...

    def keep(self, key: str, result: dict[str, Any]) -> None:
        """Keep a copy; older ones may go for it."""
        ...


class NothingKept:
    """For callers that never ask twice."""

    @property
    def keeps(self) -> bool:
        return False

    def find(self, _key: str) -> dict[str, Any] | None:
        return None

    def keep(self, _key: str, _result: dict[str, Any]) -> None:
        return None
