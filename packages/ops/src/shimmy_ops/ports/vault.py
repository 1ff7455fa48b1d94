"""Where backups lie, sealed; and the private folder that they are put together in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Protocol

from shimmy_ops.domain.backups.records import BackupRecord


@dataclass(frozen=True, slots=True)
class Sealed:
    """An archive as it lies there."""

    file: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Opened:
    """A part of an archive; ``pieces`` must be read before the next part is asked for."""

    name: str
    pieces: Iterator[bytes]


class Bench(Protocol):
    """A folder for its owner alone, gone with what is in it afterwards."""

    def path(self, name: str) -> PurePath:
        """Where something of this name goes."""

    def read(self, path: PurePath) -> Iterator[bytes]:
        """Its bytes in pieces. Raises BackupError."""

    def write(self, path: PurePath, pieces: Iterator[bytes]) -> None:
        """A new file. Raises BackupError."""

    def hand_out(self, path: PurePath, to: PurePath) -> None:
        """A copy outside, for its owner's eyes; takes nothing's place. Raises BackupError."""


class Vault(Protocol):
    """Every method raises BackupError."""

    def bench(self) -> AbstractContextManager[Bench]:
        """For one backup or one restore."""

    def seal(self, name: str, key: str, parts: Sequence[tuple[str, PurePath]]) -> Sealed:
        """One archive of these files, in their order; whole or not at all."""

    def open(self, file: str, key: str) -> Iterator[Opened]:
        """Each part, to the archive's very end; whatever was changed is refused."""

    def measure(self, file: str) -> Sealed:
        """What lies there, unread."""

    def remove(self, file: str) -> None:
        """Also if it is gone already."""


class BackupRecords(Protocol):
    """Raises BackupError, KeepingError."""

    def alone(self) -> AbstractContextManager[None]:
        """Within, no other process makes or verifies one: two would make a key each, at first."""

    def read(self) -> tuple[BackupRecord, ...]:
        """Newest last."""

    def write(self, records: Sequence[BackupRecord]) -> None:
        """In place of those before; durable once this returns."""
