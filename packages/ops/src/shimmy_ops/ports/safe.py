"""Where secrets that were made are kept, each under a name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class Safe(Protocol):
    """Every method raises KeepingError, which never repeats a secret."""

    def prepare(self) -> None:
        """Find out before anything is made whether it could be kept."""

    def held(self, names: Iterable[str]) -> frozenset[str]:
        """Those of ``names`` whose secret is kept."""

    def keep(self, name: str, secret: str) -> None:
        """Durable once this returns."""

    def read(self, name: str) -> str | None:
        """The secret of this name, None where none is kept."""

    def forget(self, name: str) -> None:
        """It is kept no longer, if it was."""

    def assignment(self, variable: str, name: str) -> str:
        """A line of shell that tells ``variable`` where its secret is, and not the secret."""
