"""The unpacked libraries on disk: a folder named by the manifest's digest, whole or not there.

Nothing in it is believed: each file is read, judged and used in one go. Whatever is not as the
manifest says is unpacked again, beside, under a lock that all processes of this user share.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from shimmy_vision.adapters.payload.packed_folder import PackedPayload
from shimmy_vision.adapters.payload.private_folder import open_own, open_private_folder
from shimmy_vision.domain.payload.file_trust import FileFault, judge_bytes
from shimmy_vision.domain.payload.manifest import PayloadFile, canonical_bytes

_LOG = logging.getLogger(__name__)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LOCK_SECONDS = 20.0
_TEMPORARY = (".new-", ".old-")
_MODE = 0o500
_KEPT = 2  # Other payloads' folders that stay: of a version before, or in another environment.


class UnpackedFolder:
    """One payload's files below ``root``. Methods raise OSError where the place is no good."""

    def __init__(self, root: Path, payload: PackedPayload) -> None:
        self._root = root
        self._payload = payload
        digest = hashlib.sha256(canonical_bytes(payload.manifest)).hexdigest()
        self.name = digest[:32]
        self._tidied = False

    @property
    def path(self) -> Path:
        return self._root / self.name

    def read(self, file: PayloadFile) -> bytes:
        """The file's bytes, as packed; unpacked again first where they are not."""
        descriptor, data = self.open(file)
        os.close(descriptor)
        return data

    def open(self, file: PayloadFile) -> tuple[int, bytes]:
        """A descriptor of the sound file, which the caller closes, and its bytes."""
        root = open_private_folder(self._root)
        try:
            self._tidy(root)
            found = self._open(root, file)
            if not isinstance(found, tuple):
                self._unpack(root, file)
                found = self._open(root, file)
            if not isinstance(found, tuple):
                raise OSError(f"{file.name}: {found}")
            return found
        finally:
            os.close(root)

    def _open(self, root: int, file: PayloadFile) -> tuple[int, bytes] | FileFault:
        """The file as it should be, or what is wrong with it."""
        try:
            folder = os.open(self.name, _READ | os.O_DIRECTORY, dir_fd=root)
        except OSError:
            return "missing"
        try:
            # Somebody may have opened it to others: nothing in it counts until it is made anew.
            status = os.fstat(folder)
            if status.st_uid != os.geteuid():
                return "foreign-owner"
            if stat.S_IMODE(status.st_mode) & 0o077:
                return "open-to-others"
            return _open_judged(folder, file)
        finally:
            os.close(folder)

    def _unpack(self, root: int, file: PayloadFile) -> None:
        """Put a whole folder in the place of what is there, unless somebody else just did."""
        with _alone(root):
            again = self._open(root, file)
            if isinstance(again, tuple):
                os.close(again[0])
                return
            self._sweep(root)
            if _exists(self.name, root):
                # Names say nothing of the user: the payload's digest and the library's own name.
                _LOG.warning("native library %s healed: %s was %s", self.name, file.name, again)
            self._write_folder(root)

    def _write_folder(self, root: int) -> None:
        temporary = f".new-{secrets.token_hex(8)}"
        try:
            folder = open_own(temporary, root)
            try:
                for file in self._payload.manifest.files:
                    _write(folder, file.name, self._payload.unpack(file))
                os.fsync(folder)
            finally:
                os.close(folder)
            self._swap(root, temporary)
            os.fsync(root)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True, dir_fd=root)
            raise

    def _swap(self, root: int, temporary: str) -> None:
        try:
            os.rename(temporary, self.name, src_dir_fd=root, dst_dir_fd=root)
        except OSError:
            # Something is there: a folder that is not empty, a file, a link.
            aside = f".old-{secrets.token_hex(8)}"
            os.rename(self.name, aside, src_dir_fd=root, dst_dir_fd=root)
            os.rename(temporary, self.name, src_dir_fd=root, dst_dir_fd=root)
            _remove(aside, root)

    def _tidy(self, root: int) -> None:
        """Once: what somebody who was killed left beside a sound folder; not while one is at it."""
        if self._tidied:
            return
        self._tidied = True
        if any(name.startswith(_TEMPORARY) for name in os.listdir(root)):
            lock = _open_lock(root)
            try:
                if _locked(lock):
                    self._sweep(root)
            finally:
                os.close(lock)

    def _sweep(self, root: int) -> None:
        """What was killed in the middle, and payloads nobody used for the longest time."""
        others: list[tuple[float, str]] = []
        for name in os.listdir(root):
            if name.startswith(_TEMPORARY):
                _remove(name, root)
            elif name not in (self.name, "lock"):
                status = os.stat(name, dir_fd=root, follow_symlinks=False)
                others.append((status.st_mtime, name))
        for _time, name in sorted(others)[:-_KEPT]:
            _remove(name, root)


@contextlib.contextmanager
def _alone(root: int) -> Iterator[None]:
    """One process at a time; the system frees the lock of one that dies."""
    lock = _open_lock(root)
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise TimeoutError("another process holds the lock")
            time.sleep(0.02)
        yield
    finally:
        os.close(lock)


def _open_lock(root: int) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open("lock", flags, 0o600, dir_fd=root)


def _open_judged(folder: int, file: PayloadFile) -> tuple[int, bytes] | FileFault:
    try:
        descriptor = os.open(file.name, _READ, dir_fd=folder)
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "no-file"
    fault: FileFault | None
    data = b""
    try:
        fault = _judge_open(descriptor, file)
        if fault is None:
            data = _all_of(descriptor, file.size)
            fault = judge_bytes(file, data)
    except OSError:
        fault = "no-file"
    if fault is None:
        return descriptor, data
    os.close(descriptor)
    return fault


def _judge_open(descriptor: int, file: PayloadFile) -> FileFault | None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return "no-file"
    if status.st_uid != os.geteuid():
        return "foreign-owner"
    if status.st_nlink != 1:
        return "linked"
    if stat.S_IMODE(status.st_mode) != _MODE:
        return "open-to-others"
    return None if status.st_size == file.size else "wrong-size"


def _all_of(descriptor: int, size: int) -> bytes:
    """At most a byte more than ``size``, from where the descriptor stands."""
    pieces, left = [], size + 1
    while left and (piece := os.read(descriptor, min(left, 1 << 20))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _write(folder: int, name: str, data: bytes) -> None:
    descriptor = os.open(name, _WRITE, 0o600, dir_fd=folder)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fchmod(descriptor, _MODE)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(name: str, root: int) -> None:
    """Whatever it is; what cannot be removed stays and is in nobody's way."""
    with contextlib.suppress(OSError):
        if stat.S_ISDIR(os.stat(name, dir_fd=root, follow_symlinks=False).st_mode):
            shutil.rmtree(name, ignore_errors=True, dir_fd=root)
        else:
            os.unlink(name, dir_fd=root)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _exists(name: str, root: int) -> bool:
    try:
        os.stat(name, dir_fd=root, follow_symlinks=False)
    except OSError:
        return False
    return True
