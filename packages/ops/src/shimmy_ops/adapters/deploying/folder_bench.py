"""The ``Workbench`` port over folders, and the ``DeployJournal`` port as a file of lines."""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from shimmy_ops.adapters.releases.object_folders import file_digest
from shimmy_ops.domain.deploying.journal import Deployed, encode_deployed
from shimmy_ops.domain.releases.trees import Entry
from shimmy_ops.errors import DeployError


class FolderBench:
    """See ``ports.deploying``."""

    def read(self, folder: PurePath, name: str) -> str:
        with _disk(f"{folder}/{name}"):
            return (Path(folder) / name).read_text(encoding="utf-8")

    def entries(self, folder: PurePath) -> tuple[Entry, ...]:
        with _disk(str(folder)):
            return tuple(
                Entry(one.relative_to(folder).as_posix(), one.stat().st_size, file_digest(one))
                for one in _files(folder)
            )

    def packed_size(self, folder: PurePath) -> int:
        with _disk(str(folder)):
            return sum(len(gzip.compress(one.read_bytes(), 6)) for one in _files(folder))

    @contextmanager
    def changed(self, folder: PurePath | None, name: str, text: str) -> Iterator[PurePath]:
        with tempfile.TemporaryDirectory(prefix="shimmy-bundle-") as place:
            copy = Path(place) / "bundle"
            with _disk(str(folder or name)):
                if folder is None:
                    copy.mkdir()
                else:
                    shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".wrangler"))
                (copy / name).write_text(text, encoding="utf-8")
            yield copy


class JournalFile:
    """``path``: one line a thing that happened."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, deployed: Deployed) -> None:
        with _disk(str(self._path)):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "a", encoding="utf-8") as file:
                file.write(encode_deployed(deployed))
                file.flush()
                os.fsync(file.fileno())


def _files(folder: PurePath) -> list[Path]:
    return [
        one
        for one in sorted(Path(folder).rglob("*"))
        if one.is_file() and ".wrangler" not in one.relative_to(folder).parts
    ]


@contextmanager
def _disk(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, shutil.Error) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise DeployError("deploy-files-unusable", f"{what} cannot be used: {said}.") from error
