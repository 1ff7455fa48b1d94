"""Where the single file begins: unpacks what a command needs when it needs it, and is ``shimmy``.

PyInstaller's loader unpacks the interpreter and the standard library into a private folder that
goes with the process. All else (numpy, Pillow, pdfium: nine tenths) lies in the executable as
parts, one for each package; the import of a package unpacks its part, held against the SHA-256 that
was compiled in. So ``shimmy --help`` unpacks a tenth, and nothing that runs outlives the process
where another one could change it.

The packed native library is the exception: it gets a place that stays, so that what is remembered
of it (that it passed its trial, that a running server uses the same) holds at the next start. Its
loader trusts nothing there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import stat
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

_OWN = "shimmy_vision"
_COOKIE, _COOKIE_BYTES = b"MEI\014\013\012\013\016", 88
_NATIVE = f"{_OWN}.settings"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a part: where it goes, and its compressed bytes from ``offset`` on."""

    path: str
    offset: int
    packed: int
    size: int
    sha256: str


class PartError(ImportError):
    """A part of the executable is not what was built."""


class Parts(MetaPathFinder):
    """Unpacks a package's part before Python looks for the package."""

    def __init__(
        self, file: Path, start: int, index: dict[str, Sequence[Member]], folder: Path
    ) -> None:
        self._file, self._start, self._index, self._folder = file, start, index, folder
        self._done: set[str] = set()
        self._lock = threading.RLock()

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Finds nothing itself: the finders behind it do, now that the files are there."""
        # The one that is named after a module is LibraryPlace's.
        part = fullname.partition(".")[0]
        if part in self._index and part not in self._done:
            with self._lock:
                if part not in self._done:
                    self.unpack(part, self._folder)
                    self._done.add(part)
        return None

    def unpack(self, part: str, folder: Path) -> None:
        """Every file of ``part`` that is not there yet. Raises PartError where bytes differ."""
        missing = [one for one in self._index[part] if not _is_there(folder, one)]
        with self._file.open("rb") as source:
            for one in missing:
                _put(folder / one.path, self._bytes(source, one))

    def check(self) -> tuple[int, int]:
        """Hold every file of every part against its digest: how many, and their bytes."""
        members = [one for part in self._index.values() for one in part]
        with self._file.open("rb") as source:
            for one in members:
                self._bytes(source, one)
        return len(members), sum(one.size for one in members)

    def identify(self, part: str) -> str:
        """Changes whenever a file of ``part`` does; empty where there is no such part."""
        digests = "".join(one.sha256 for one in self._index.get(part, ()))
        return digests and hashlib.sha256(digests.encode()).hexdigest()

    def _bytes(self, source: Any, one: Member) -> bytes:
        source.seek(self._start + one.offset)
        data = _decompress(source.read(one.packed), one.size)
        if hashlib.sha256(data).hexdigest() != one.sha256:
            raise PartError(f"This file is damaged: {one.path} in it is not what was built.")
        return data


def _decompress(packed: bytes, size: int) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    try:
        return zstd.ZstdDecompressor().decompress(packed, max_length=size + 1)
    except zstd.ZstdError:
        return b""


def _is_there(folder: Path, one: Member) -> bool:
    """The folder is this process's own, or its parent's; a whole file has its name only whole."""
    try:
        return (folder / one.path).stat().st_size == one.size
    except OSError:
        return False


def _put(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}")
    # Exclusive: whatever lies there already is nothing to write through.
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    beside.replace(target)


def start_of_parts(file: Path, length: int) -> int:
    """They end where PyInstaller's archive begins, whose last bytes tell its own length."""
    with file.open("rb") as source:
        source.seek(0, os.SEEK_END)
        end = source.tell()
        # A signature of the system may stand behind it.
        source.seek(max(0, end - (1 << 22)))
        tail = source.read()
    place = tail.rfind(_COOKIE)
    if place < 0:
        raise PartError("This file is damaged: its end is missing.")
    archive = int.from_bytes(tail[place + len(_COOKIE) : place + len(_COOKIE) + 4], "big")
    return end - (len(tail) - place) + _COOKIE_BYTES - archive - length


def place_library(parts: Parts, members: Sequence[Member], cache: Path) -> Path | None:
    """A folder that stays with the packed native library; None where none can be kept.

    Files that differ are written again. What is loaded is judged by the loader, wherever it lies.
    """
    whole = hashlib.sha256("".join(one.sha256 for one in members).encode()).hexdigest()
    folder = cache / "single-file" / whole[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for one in members:
            target = folder / one.path
            if _digest(target, one.size) != one.sha256:
                target.unlink(missing_ok=True)
        parts.unpack(_NATIVE, folder)
    except OSError:
        return None
    return (folder / members[0].path).parent


def _digest(path: Path, size: int) -> str:
    """Empty where there is no plain file of ``size`` bytes: nothing else is opened."""
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


class LibraryPlace(MetaPathFinder):
    """Tells the settings, before they are first read, where the native library lies."""

    def __init__(self, parts: Parts, members: Sequence[Member], folder: Path) -> None:
        self._parts, self._members, self._folder = parts, members, folder

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Acts once, and finds nothing itself."""
        if fullname == _NATIVE:
            sys.meta_path.remove(self)
            if not os.environ.get("SHIMMY_LIBRARY_DIR"):
                os.environ["SHIMMY_LIBRARY_DIR"] = str(self._place())
        return None

    def _place(self) -> Path:
        import platformdirs

        given = os.environ.get("SHIMMY_CACHE_DIR")
        kept = None
        # A user without a home has no usual folder: the settings say so in words.
        with contextlib.suppress(RuntimeError):
            usual = platformdirs.PlatformDirs("shimmy-vision", appauthor=False)
            cache = Path(given).expanduser() if given else usual.user_cache_path
            kept = place_library(self._parts, self._members, cache)
        if kept is None:
            self._parts.unpack(_NATIVE, self._folder)
            return (self._folder / self._members[0].path).parent
        return kept


def open_parts() -> None:
    """The packages of the executable that runs are found from now on.

    ``shimmy self-check`` finds all parts as ``shimmy_single_file.PARTS``.
    """
    built: Any = importlib.import_module("shimmy_single_file")

    file, folder = Path(sys.executable), Path(sys._MEIPASS)  # type: ignore[attr-defined]
    index: dict[str, Sequence[Member]] = {
        name: tuple(Member(*one) for one in part) for name, part in built.INDEX.items()
    }
    parts = Parts(file, start_of_parts(file, built.LENGTH), index, folder)
    built.PARTS = parts
    native = index.get(_NATIVE, ())
    if native:
        sys.meta_path.insert(0, LibraryPlace(parts, native, folder))
    sys.meta_path.insert(0, parts)


def _is_ours(words: Sequence[str]) -> bool:
    return bool(words) and words[0].partition(".")[0] == _OWN


def main() -> int:
    """``shimmy``, and what it starts as ``python -P -m shimmy_vision…`` elsewhere."""
    try:
        open_parts()
        # As children are started: a Python, which this file is none of, would look into the
        # current folder without -P.
        if sys.argv[1:3] == ["-P", "-m"] and _is_ours(sys.argv[3:4]):
            import runpy

            name = sys.argv[3]
            del sys.argv[1:4]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
            return 0
        from shimmy_vision.cli.main import main as shimmy

        return shimmy()
    except PartError as error:
        print(f"shimmy: {error} [single-file-damaged]", file=sys.stderr)
        print("  → Download it again; its digest stands in SHA256SUMS.", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
