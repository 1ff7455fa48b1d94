"""Finished results, kept for whoever asks the very same again."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from shimmy_vision.ports.cancellation import Cancellation


class KeptResults(Protocol):
    """Bounded; safe to use from several threads."""

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all: making a key means reading every pixel."""
        ...

    def alone(self, key: str, cancellation: Cancellation) -> AbstractContextManager[None]:
        """One caller at a time for each key; raises StoppedError when cancelled while waiting."""
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

    def alone(self, _key: str, _cancellation: Cancellation) -> AbstractContextManager[None]:
        return nullcontext()

    def find(self, _key: str) -> dict[str, Any] | None:
        return None

    def keep(self, _key: str, _result: dict[str, Any]) -> None:
        return None
