"""Installed models in a folder: one subfolder a version, partial downloads beside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from shimmy_vision.adapters.files.durable_rename import sync_folder
from shimmy_vision.adapters.files.hashed_model_files import hash_file
from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.domain.model.download import PartState
from shimmy_vision.domain.model.model_manifest import ModelFile, ModelPin
from shimmy_vision.errors import DownloadError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.model_files import ByteProgress
from shimmy_vision.ports.model_store import StoredFile

_LOCK_POLL_SECONDS = 0.2


class FolderModelStore:
    """The ``ModelStore`` port over ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, pin: ModelPin) -> Path:
        return self._root / f"minicpm-v-{pin.family}"

    def stored(self, pin: ModelPin, file: ModelFile) -> StoredFile:
        path = self.folder(pin) / file.name
        size = _size(path)
        return StoredFile(path, size is not None, size or 0, _size(_part_path(path)) or 0)

    @contextmanager
    def part(self, pin: ModelPin, file: ModelFile) -> Iterator[FolderPart]:
        with _disk_errors(file), FolderPart(self.folder(pin) / file.name).opened() as part:
            yield part

    @contextmanager
    def lock(
        self, pin: ModelPin, cancellation: Cancellation, on_wait: Callable[[], None]
    ) -> Iterator[None]:
        lock = FileLock(self.folder(pin) / ".lock")
        with _folder_errors(self._root):
            self.folder(pin).mkdir(parents=True, exist_ok=True, mode=0o700)
            cancellation.check()
            if not _acquired(lock):
                on_wait()
            while not lock.is_locked:
                cancellation.check()
                _acquired(lock)
        try:
            yield
        finally:
            lock.release()

    def free_bytes(self) -> int:
        place = next(p for p in (self._root, *self._root.parents) if p.exists())
        return shutil.disk_usage(place).free

    def remove(self, pin: ModelPin) -> int:
        freed = 0
        for file in pin.files:
            path = self.folder(pin) / file.name
            for one in (path, _part_path(path), _state_path(path)):
                freed += _size(one) or 0
                one.unlink(missing_ok=True)
        return freed


class FolderPart:
    """The ``PartFile`` port: ``NAME.part`` and, beside it, the server's tag for it."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._path = _part_path(target)
        self._tag = str(read_record(_state_path(target)).get("tag", ""))
        self._file: BinaryIO | None = None

    @contextmanager
    def opened(self) -> Iterator[FolderPart]:
        with self._path.open("ab") as file:
            self._file = file
            yield self

    @property
    def state(self) -> PartState:
        return PartState(self._handle.tell(), self._tag)

    def restart(self, tag: str) -> None:
        self._handle.truncate(0)
        self._handle.seek(0)
        self._tag = tag
        write_record(_state_path(self._target), {"tag": tag})

    def append(self, data: bytes) -> None:
        self._handle.write(data)

    def sha256(self, progress: ByteProgress, cancellation: Cancellation) -> str:
        self._handle.flush()
        return hash_file(self._path, progress, cancellation)

    def commit(self) -> Path:
        self._handle.flush()
        os.fsync(self._handle.fileno())
        self._handle.close()  # Windows does not rename a file that is open
        self._path.replace(self._target)
        _state_path(self._target).unlink(missing_ok=True)
        sync_folder(self._target.parent)
        return self._target

    @property
    def _handle(self) -> BinaryIO:
        if self._file is None:
            raise RuntimeError("the part is not open")
        return self._file


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=_LOCK_POLL_SECONDS)
    except Timeout:
        return False
    return True


@contextmanager
def _folder_errors(root: Path) -> Iterator[None]:
    """What a folder that cannot be made or locked means."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            "model-folder-unusable",
            f"The model folder {root} cannot be used: {error.strerror or error}.",
            hint="Set SHIMMY_MODEL_DIR to a folder you can write.",
        ) from error


@contextmanager
def _disk_errors(file: ModelFile) -> Iterator[None]:
    """The one place where the disk's failures become ours."""
    try:
        yield
    except OSError as error:
        raise DownloadError(
            "disk-full" if error.errno == 28 else "disk-error",
            f"{file.name} could not be written: {error.strerror or error}.",
            hint="Free space, or set SHIMMY_MODEL_DIR to another disk; the download resumes.",
        ) from error


def _part_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.part")


def _state_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.part.json")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def names_in(folder: Path) -> Sequence[str]:
    """Names of what is in ``folder``, in order; none where there is no folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else ()
