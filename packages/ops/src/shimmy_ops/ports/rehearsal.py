"""The store's own command on a ledger that nobody needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Protocol


class Rehearsal(Protocol):
    """Raises BackupError where the command is not there, or refuses."""

    def restore(self, dump: PurePath, mode: str) -> Iterator[bytes]:
        """Into an empty ledger of its own, and what that ledger's own dump says then."""
