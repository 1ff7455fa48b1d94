"""What a deploy is done with: commands, a bundle, and a journal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Protocol

from shimmy_ops.domain.deploying.journal import Deployed
from shimmy_ops.domain.releases.trees import Entry


@dataclass(frozen=True, slots=True)
class Said:
    """``output`` is as it came: it may hold secrets, and is shown to nobody."""

    code: int
    output: str = field(repr=False)


class Commands(Protocol):
    """Runs them in the profile's folder; what they say goes, redacted, into a private log."""

    def run(self, words: Sequence[str], given: str | None = None) -> Said:
        """``given`` is its whole input. Raises DeployError where it cannot be run or ended."""

    def runs(self, word: str) -> bool:
        """Whether there is such a program."""


class Workbench(Protocol):
    """Folders to look into, and copies that are changed. Everything raises DeployError."""

    def read(self, folder: PurePath, name: str) -> str:
        """A file's text."""

    def entries(self, folder: PurePath) -> tuple[Entry, ...]:
        """All files of a folder."""

    def packed_size(self, folder: PurePath) -> int:
        """Its files' bytes, each compressed by gzip."""

    def changed(
        self, folder: PurePath | None, name: str, text: str
    ) -> AbstractContextManager[PurePath]:
        """A copy of the folder (none: an empty one) where the file ``name`` is ``text``."""


class DeployJournal(Protocol):
    """Raises DeployError."""

    def add(self, deployed: Deployed) -> None:
        """On the disk when this returns."""


class SecretValues(Protocol):
    """Secrets that the store's environment file refers to. Raises KeepingError, RotationError."""

    def read(self, variable: str) -> str:
        """The value of the file or the keyring's entry that the file names for it."""

    def names(self) -> frozenset[str]:
        """Variables that it refers to a secret for."""
