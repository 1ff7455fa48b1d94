"""The ``OutputShelf`` port: a file an output, for its owner alone, named by its digest."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from shimmy_ops.domain.launch.entries import Output
from shimmy_ops.errors import LaunchError

LARGEST = 1 << 20
"""Bytes of an output that are kept; of a larger one its beginning and its end."""
_HALF = LARGEST // 2


class OutputFiles:
    """Files in ``folder/output``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, content: bytes, size: int) -> Output:
        digest = hashlib.sha256(content).hexdigest()
        output = Output(digest, size, whole=size <= LARGEST)
        path = self._folder / output.file
        fresh = path.with_name(f".{digest}.new")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(
                os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
            ) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise LaunchError(
                "launch-output-unkept",
                f"What a command said cannot be kept: {error.strerror or type(error).__name__}. "
                "Nothing was recorded.",
                hint="See the disk, then run it again.",
            ) from error
        return output

    def read(self, output: Output) -> bytes | None:
        try:
            content = (self._folder / output.file).read_bytes()
        except OSError:
            return None
        return content if hashlib.sha256(content).hexdigest() == output.sha256 else None


class BoundedOutput:
    """Takes in what a command says; keeps its beginning and its end."""

    def __init__(self) -> None:
        self.size = 0
        self._head, self._tail = bytearray(), bytearray()

    def take(self, piece: bytes) -> None:
        """One more piece."""
        self.size += len(piece)
        room = _HALF - len(self._head)
        self._head += piece[:room]
        self._tail += piece[room:] if room < len(piece) else b""
        if len(self._tail) > 2 * _HALF:
            del self._tail[:-_HALF]

    def content(self) -> bytes:
        """All of it, or its beginning and end with a note between them."""
        if self.size <= LARGEST:
            return bytes(self._head + self._tail)
        left_out = self.size - LARGEST
        note = f"\n[shimmy-ops: {left_out} bytes are left out here]\n".encode()
        return bytes(self._head) + note + bytes(self._tail[-_HALF:])
