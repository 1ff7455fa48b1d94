"""The ``Vault`` port as a folder of sealed archives (tar, gzip, AES-256-GCM)."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import BinaryIO

from shimmy_ops.adapters.backups.sealed_stream import OpeningReader, SealingWriter
from shimmy_ops.adapters.keeping.private_files import settle
from shimmy_ops.domain.backups.manifest import damaged
from shimmy_ops.errors import BackupError
from shimmy_ops.ports.vault import Opened, Sealed

_BENCH = ".shimmy-backup-"
_LEFT_BEHIND_SECONDS = 24 * 3600
_PIECE = 1 << 16


class FolderBench:
    """The ``Bench`` port."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> PurePath:
        return self._folder / name

    def read(self, path: PurePath) -> Iterator[bytes]:
        with _files(), Path(path).open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece

    def write(self, path: PurePath, pieces: Iterator[bytes]) -> None:
        with _files(), open(path, "xb", opener=_private) as file:
            for piece in pieces:
                file.write(piece)

    def hand_out(self, path: PurePath, to: PurePath) -> None:
        target = Path(to)
        fresh = target.with_name(f".{target.name}.new")
        try:
            with _files():
                fresh.unlink(missing_ok=True)
                with Path(path).open("rb") as kept, open(fresh, "xb", opener=_private) as file:
                    shutil.copyfileobj(kept, file, _PIECE)
                    file.flush()
                    os.fsync(file.fileno())
                os.link(fresh, target)
                settle(target.parent)
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)


class ArchiveVault:
    """``folder`` is made when it is first needed, for its owner alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def bench(self) -> Iterator[FolderBench]:
        with _files():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._clear()
            folder = Path(tempfile.mkdtemp(prefix=_BENCH, dir=self._folder))
        try:
            yield FolderBench(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _clear(self) -> None:
        """What a run left behind that was killed: a bench is not sealed, an archive not whole."""
        for path in self._folder.glob(f"{_BENCH}*"):
            if time.time() - path.lstat().st_mtime <= _LEFT_BEHIND_SECONDS:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    def seal(self, name: str, key: str, parts: Sequence[tuple[str, PurePath]]) -> Sealed:
        path = self._folder / name
        fresh = path.with_name(f".{name}.new")
        try:
            with _files():
                fresh.unlink(missing_ok=True)
                with open(fresh, "xb", opener=_private) as file:
                    _write(file, key, parts)
                # Unlike a rename a link takes no other backup's place.
                os.link(fresh, path)
                settle(path.parent)
        finally:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
        return self.measure(str(path))

    def open(self, file: str, key: str) -> Iterator[Opened]:
        with _files(), Path(file).open("rb") as sealed:
            reader = io.BufferedReader(OpeningReader(sealed, key), _PIECE)
            try:
                with tarfile.open(fileobj=reader, mode="r|gz") as archive:
                    for member in archive:
                        content = archive.extractfile(member)
                        if not member.isreg() or content is None:
                            raise damaged("it holds what no backup has")
                        yield Opened(member.name, iter(lambda: content.read(_PIECE), b""))  # noqa: B023
                # The archive says where it ends; nothing may come after, and its end must be there.
                while reader.read(_PIECE):
                    pass
            except (tarfile.TarError, EOFError, zlib.error) as error:
                raise damaged("it cannot be unpacked") from error

    def measure(self, file: str) -> Sealed:
        path, digest = Path(file), hashlib.sha256()
        with _files(), path.open("rb") as sealed:
            while piece := sealed.read(_PIECE):
                digest.update(piece)
            return Sealed(str(path.absolute()), digest.hexdigest(), sealed.tell())

    def remove(self, file: str) -> None:
        with _files():
            Path(file).unlink(missing_ok=True)


def _write(file: BinaryIO, key: str, parts: Sequence[tuple[str, PurePath]]) -> None:
    sealing = SealingWriter(file, key)
    with tarfile.open(fileobj=sealing, mode="w|gz") as archive:
        for name, path in parts:
            with Path(path).open("rb") as content:
                member = tarfile.TarInfo(name)
                member.size = os.fstat(content.fileno()).st_size
                member.mode = 0o600
                archive.addfile(member, content)
    sealing.finish()
    file.flush()
    os.fsync(file.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def _files() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(
            "backup-file-unusable",
            f"A backup cannot be read or written: {error.strerror or type(error).__name__}.",
            hint="Check that it is there, its folder and its disk's space.",
        ) from error
