"""What the language model holds after instructions of our own: computed once, kept on disk.

One file a prefix, written beside and renamed, readable for its owner alone. Its name is the digest
of all that it depends on; it begins with the digest of the rest. What is damaged, cut or of another
size is dropped and computed again. Callers' words are never kept here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import struct
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_MAGIC = b"SHIMMYS1"
_HEAD = struct.Struct("<8s32sq")  # what it is, the digest of the rest, positions
_POSITIONS = struct.Struct("<q")
_MOST_BYTES = 200_000_000
# Less than this a model computes as quickly as it would be read.
_LEAST_BYTES = 1_000_000
# No link is followed, no pipe waited for.
_PLAIN = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))


@dataclass(frozen=True, slots=True)
class KeptState:
    """What a sequence of ``positions`` held."""

    data: NDArray[np.uint8]
    positions: int


class KeptPrefixes:
    """States in ``folder``, at most ``most`` bytes of them; None keeps nothing.

    ``context`` names the library, the processor's abilities and the shape of the context, on which
    a state depends besides its key.
    """

    def __init__(
        self, folder: Path | None, context: Sequence[object] = (), most: int = _MOST_BYTES
    ) -> None:
        self._folder, self._context, self._most = folder, [str(one) for one in context], most

    @property
    def keeps(self) -> bool:
        """Whether anything is kept at all."""
        return self._folder is not None

    def find(self, key: str) -> KeptState | None:
        """What was kept under ``key``, if every byte of it is as it was."""
        path = self._path(key)
        if path is None:
            return None
        try:
            data = _read(path, self._most)
        except OSError:
            return None
        state = _unpack(data)
        with contextlib.suppress(OSError):
            if state is None:
                path.unlink(missing_ok=True)
            else:
                os.utime(path)
        return state

    def keep(self, key: str, state: KeptState) -> None:
        """Where it pays and the disk takes it; what was used longest ago goes for it."""
        path = self._path(key)
        size = state.data.nbytes
        if path is None or not _LEAST_BYTES <= size <= self._most - _HEAD.size:
            return
        # A folder of somebody else's does not even tell what is in it.
        with contextlib.suppress(OSError):
            if not path.exists():
                _write(path, state)
                self._drop_oldest(path.parent)

    def drop(self, key: str) -> None:
        """Forget what llama.cpp refused."""
        path = self._path(key)
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _path(self, key: str) -> Path | None:
        if self._folder is None:
            return None
        named = json.dumps([key, *self._context])
        return self._folder / f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.state"

    def _drop_oldest(self, folder: Path) -> None:
        found = sorted(_files(folder))
        left = sum(size for _, size, _ in found)
        for _, size, path in found:
            if left <= self._most:
                return
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
                left -= size


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """When each was used last, and its bytes. Others may be dropping them at the same time."""
    for one in folder.iterdir():
        with contextlib.suppress(OSError):
            status = one.lstat()
            if not stat.S_ISDIR(status.st_mode):
                yield status.st_mtime, status.st_size, one


def _read(path: Path, most: int) -> bytes:
    """Empty where it is no file of ours. Raises OSError."""
    with os.fdopen(os.open(path, os.O_RDONLY | _PLAIN), "rb") as file:
        status = os.fstat(file.fileno())
        ours = stat.S_ISREG(status.st_mode) and status.st_size <= most
        return file.read() if ours else b""


def _unpack(data: bytes) -> KeptState | None:
    if len(data) < _HEAD.size:
        return None
    magic, digest, positions = _HEAD.unpack_from(data)
    content = memoryview(data)[_HEAD.size :]
    if magic != _MAGIC or digest != _digest(positions, content):
        return None
    return KeptState(np.frombuffer(content, dtype=np.uint8), positions)


def _digest(positions: int, content: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(_POSITIONS.pack(positions))
    digest.update(content)
    return digest.digest()


def _write(path: Path, state: KeptState) -> None:
    """Raises OSError."""
    content = state.data.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # mkstemp's files are for their owner alone.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_HEAD.pack(_MAGIC, _digest(state.positions, content), state.positions))
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
