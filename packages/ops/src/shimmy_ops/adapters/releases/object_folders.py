"""Objects as folders named by their digest: a manifest, and the files that it lists."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shimmy_ops.adapters.keeping.private_files import settle
from shimmy_ops.domain.releases.trees import (
    Entry,
    compare_tree,
    encode_manifest,
    manifest_digest,
    parse_manifest,
)
from shimmy_ops.errors import ReleaseError

CONFIG = "store.env"
_MANIFEST, _FILES = "manifest", "files"
_PIECE = 1 << 20
# Wrangler writes it beside whatever it deploys.
_SCRATCH = ".wrangler"


class ObjectFolders:
    """``root`` is made when it is first needed. Everything raises ReleaseError."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def files(self, digest: str) -> Path:
        """The folder with the object's files."""
        return self._root / digest / _FILES

    def names(self) -> frozenset[str]:
        """All that are there."""
        if not self._root.is_dir():
            return frozenset()
        return frozenset(one.name for one in self._root.iterdir() if not one.name.startswith("."))

    def add_folder(self, source: Path) -> str:
        """A copy that anybody may read: a web server will."""
        with _disk("copied"):
            entries = list(_entries(source))
            if not entries:
                raise ReleaseError("part-unusable", f"{source} is no folder, or an empty one.")
            with self._fresh() as fresh:
                for entry in entries:
                    _copy(source / entry.path, fresh / _FILES / entry.path)
                _open_up(fresh)
                return self._settle(fresh)

    def add_config(self, text: str) -> str:
        """For its owner alone."""
        with _disk("kept"), self._fresh() as fresh:
            path = fresh / _FILES / CONFIG
            path.parent.mkdir(mode=0o700)
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
            return self._settle(fresh)

    def copy(self, digest: str, into: ObjectFolders) -> str:
        """Copy an object; what the copy's digest is."""
        return into.add_folder(self.files(digest))

    def entries(self, digest: str) -> tuple[Entry, ...]:
        """The files that an object consists of."""
        with _disk("read"):
            text = (self._root / digest / _MANIFEST).read_text(encoding="utf-8")
        return parse_manifest(text)

    def damage(self, digest: str) -> list[str]:
        """What is wrong with the object; empty where nothing is."""
        manifest = self._root / digest / _MANIFEST
        if not manifest.is_file():
            return [f"object {digest[:12]} is gone"]
        try:
            found = {one.path: one for one in _entries(self.files(digest))}
            return compare_tree(manifest.read_text(encoding="utf-8"), digest, found)
        except (OSError, ValueError) as error:
            return [f"object {digest[:12]} cannot be read: {type(error).__name__}"]
        except ReleaseError as error:
            return [f"object {digest[:12]}: {error.message}"]

    @contextmanager
    def _fresh(self) -> Iterator[Path]:
        self._root.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=self._root))
        try:
            yield fresh
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _settle(self, fresh: Path) -> str:
        """Of what was copied, not of what was to be: the source may have changed meanwhile."""
        text = encode_manifest(_entries(fresh / _FILES))
        digest = manifest_digest(text)
        (fresh / _MANIFEST).write_text(text, encoding="utf-8")
        for path in (*fresh.rglob("*"), fresh):
            settle(path)
        place = self._root / digest
        if place.exists() and self.damage(digest):
            place.rename(fresh / "damaged")
        if not place.exists():
            kept = fresh.with_name(f"{fresh.name}-kept")
            kept.mkdir(mode=fresh.stat().st_mode & 0o777)
            kept.chmod(fresh.stat().st_mode & 0o777)
            (fresh / _FILES).rename(kept / _FILES)
            (fresh / _MANIFEST).rename(kept / _MANIFEST)
            kept.rename(place)
            settle(self._root)
        return digest


def _entries(folder: Path) -> Iterator[Entry]:
    for path in sorted(folder.rglob("*")):
        if _SCRATCH in path.relative_to(folder).parts:
            continue
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise ReleaseError(
                "part-unusable",
                f"{path.relative_to(folder)} is neither a file nor a folder.",
                hint="A release holds plain files: replace links by what they lead to.",
            )
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            if not _is_text(name):
                raise ReleaseError(
                    "part-unusable",
                    f"{name!a} has a name that is no text (UTF-8), so no address leads to it.",
                    hint="Name it otherwise.",
                )
            yield Entry(name, path.stat().st_size, file_digest(path))


def _is_text(name: str) -> bool:
    """Names that are no UTF-8 come with stand-ins that nothing can write again."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _open_up(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


@contextmanager
def _disk(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ReleaseError(
            "release-folder-unusable",
            f"A part could not be {doing}: {error.strerror or type(error).__name__}.",
            hint="Free some space, or see to the rights of release_folder.",
        ) from error
