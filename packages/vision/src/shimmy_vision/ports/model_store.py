"""The folder of installed models."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from shimmy_vision.domain.model.download import PartState
from shimmy_vision.domain.model.model_manifest import ModelFile, ModelPin
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_files import ByteProgress


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file's place and how much of it is there; ``partial`` bytes wait to be resumed."""

    path: Path
    present: bool
    size: int
    partial: int


class PartFile(Protocol):
    """A file being downloaded; survives a kill at any point."""

    @property
    def state(self) -> PartState: ...

    def restart(self, tag: str) -> None:
        """Forget what was downloaded; ``tag`` names what comes now."""
        ...

    def append(self, data: bytes) -> None:
        """Raises DownloadError disk-full."""
        ...

    def sha256(self, progress: ByteProgress, cancellation: Cancellation) -> str: ...

    def commit(self) -> Path:
        """Put it in its place, atomically and durably."""
        ...


class ModelStore(Protocol):
    """One folder a version."""

    def folder(self, pin: ModelPin) -> Path: ...

    def stored(self, pin: ModelPin, file: ModelFile) -> StoredFile: ...

    def part(self, pin: ModelPin, file: ModelFile) -> AbstractContextManager[PartFile]: ...

    def lock(
        self, pin: ModelPin, cancellation: Cancellation, on_wait: Callable[[], None]
    ) -> AbstractContextManager[None]:
        """Only one process installs or removes a version at a time.

        Waits for the other, telling ``on_wait`` once; ends with StoppedError on cancellation.
        """
        ...

    def free_bytes(self) -> int: ...

    def remove(self, pin: ModelPin) -> int:
        """Delete the version's files and parts; bytes freed."""
        ...
