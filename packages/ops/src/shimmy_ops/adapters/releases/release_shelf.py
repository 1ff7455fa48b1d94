"""The ``Shelf`` port: objects, records and state in the profile's ``release_folder``."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from shimmy_ops.adapters.keeping.private_files import write_private
from shimmy_ops.adapters.releases.object_folders import CONFIG, ObjectFolders, file_digest
from shimmy_ops.domain.releases.records import History, Release, encode_record, read_history
from shimmy_ops.domain.releases.state import State, encode_state, parse_state
from shimmy_ops.errors import ReleaseError

_INDEX = "index.html"


class ReleaseShelf:
    """``folder`` is made when it is first needed."""

    def __init__(self, folder: Path, objects: ObjectFolders) -> None:
        self._folder = folder.absolute()
        self._records = self._folder / "records"
        self._state = self._folder / "state.json"
        self._objects = objects

    @contextmanager
    def hold(self) -> Iterator[None]:
        try:
            self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def history(self) -> History:
        if not self._records.is_dir():
            return History(())
        try:
            paths = sorted(self._records.glob("*.json"))
            return read_history([(path.name, path.read_text(encoding="utf-8")) for path in paths])
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def append(self, release: Release) -> None:
        try:
            self._records.mkdir(mode=0o755, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from error
        write_private(self._records / release.name, encode_record(release))

    def state(self) -> State:
        try:
            return parse_state(self._state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return State()
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def keep_state(self, state: State) -> None:
        write_private(self._state, encode_state(state))

    def add_folder(self, folder: PurePath) -> str:
        return self._objects.add_folder(Path(folder))

    def add_config(self, text: str) -> str:
        return self._objects.add_config(text)

    def folder(self, digest: str) -> PurePath:
        return self._objects.files(digest)

    def damage(self, digest: str) -> list[str]:
        return self._objects.damage(digest)

    def objects(self) -> frozenset[str]:
        return self._objects.names()

    def config_text(self, digest: str) -> str:
        try:
            return (self._objects.files(digest) / CONFIG).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error

    def index_digest(self, digest: str) -> str:
        index = self._objects.files(digest) / _INDEX
        return file_digest(index) if index.is_file() else ""

    def _unusable(self, error: Exception) -> ReleaseError:
        said = getattr(error, "strerror", None) or type(error).__name__
        return ReleaseError(
            "release-folder-unreadable",
            f"{self._folder} cannot be used: {said}.",
            hint="See to the rights of release_folder in the profile.",
        )


def _lock(descriptor: int) -> None:
    """The system lets go of it when this process ends, however it ends."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ReleaseError(
            "release-running",
            "Another command puts something in place right now.",
            hint="Wait until it has ended.",
            retryable=True,
        ) from error
