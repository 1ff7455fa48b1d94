"""Model files on disk: headers through a map, digests remembered by identity."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
from pathlib import Path

from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.domain.model.gguf import GgufHeader, parse_gguf
from shimmy_vision.errors import ModelError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_files import ByteProgress

_CHUNK = 8 * 1024 * 1024


class HashedModelFiles:
    """The ``ModelFiles`` port; ``record`` keeps digests by device, inode, size and mtime."""

    def __init__(self, record: Path) -> None:
        self._record = record

    def header(self, path: Path) -> GgufHeader:
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                if size == 0:
                    return parse_gguf(b"", 0)
                # Not closed by hand: an error on its way up may still hold a view of the map.
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                return parse_gguf(memoryview(mapped), size)
        except OSError as error:
            raise _unreadable(path, error) from error

    def sha256(
        self, path: Path, *, rehash: bool, progress: ByteProgress, cancellation: Cancellation
    ) -> str:
        try:
            key = _identity(path)
            known = read_record(self._record).get(key)
            if isinstance(known, str) and not rehash:
                return known
            digest = hash_file(path, progress, cancellation)
            if _identity(path) == key:
                self._remember(key, digest)
        except OSError as error:
            raise _unreadable(path, error) from error
        return digest

    def remember(self, path: Path, digest: str) -> None:
        self._remember(_identity(path), digest)

    def _remember(self, key: str, digest: str) -> None:
        # A full disk only means hashing again next time.
        with contextlib.suppress(OSError):
            write_record(self._record, {**read_record(self._record), key: digest})


def hash_file(path: Path, progress: ByteProgress, cancellation: Cancellation) -> str:
    """SHA-256 of a file, cancellable between 8 MB pieces."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        total = path.stat().st_size
        while piece := file.read(_CHUNK):
            cancellation.check()
            digest.update(piece)
            done += len(piece)
            progress(done, total)
    return digest.hexdigest()


def _identity(path: Path) -> str:
    status = path.stat()
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _unreadable(path: Path, error: OSError) -> ModelError:
    if isinstance(error, FileNotFoundError):
        return ModelError(
            "model-file-missing",
            f"The model file {path} does not exist.",
            hint="Install the model: shimmy models pull",
        )
    return ModelError(
        "model-file-unreadable", f"The model file {path} cannot be read: {error.strerror or error}"
    )
