"""The ``LaunchRecord`` port: JSON lines, and beside them a note of where they end."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.domain.launch.record import KeptRecord
from shimmy_ops.errors import LaunchError


class RecordFiles:
    """``folder/NAME.jsonl`` and ``folder/NAME.head``; ``folder/lock`` is held by who writes."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._lines, self._head = folder / f"{name}.jsonl", folder / f"{name}.head"

    @contextmanager
    def alone(self) -> Iterator[None]:
        with _translated(self._folder):
            # Each by itself: what ``parents`` makes would be open to everybody.
            self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                # The system lets it go when this process ends, however that comes.
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise LaunchError(
                    "launch-busy",
                    "Another launch command is at work on this record.",
                    hint="Let it end, or stop it, and run this again.",
                    retryable=True,
                ) from error
            yield
        finally:
            os.close(lock)

    def read(self) -> KeptRecord:
        with _translated(self._lines):
            # The note first: a line that is written meanwhile is then one ahead, as it may be.
            head = self._head.read_bytes() if self._head.is_file() else None
            return KeptRecord(self._lines.read_bytes() if self._lines.is_file() else b"", head)

    def begin(self, head: bytes) -> None:
        write_private(self._head, head.decode())

    def append(self, line: bytes, head: bytes) -> None:
        with _translated(self._lines):
            flags = os.O_RDWR | os.O_CREAT
            with os.fdopen(os.open(self._lines, flags, 0o600), "r+b") as file:
                whole = file.read().rfind(b"\n") + 1
                file.truncate(whole)
                file.seek(whole)
                file.write(line + b"\n")
                file.flush()
                os.fsync(file.fileno())
        # Only now, so that it never tells of a line that a crash took; whole or not at all.
        write_private(self._head, head.decode())


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise LaunchError(
            "launch-record-unusable",
            f"{path} cannot be used: {error.strerror or type(error).__name__}.",
            hint="Nothing later runs until it can. See the disk and the folder's rights.",
        ) from error
