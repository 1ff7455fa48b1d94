"""The ``SiteFolder`` port on a disk: what is written whole beside it takes the old one's place."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from shimmy_store.errors import SiteError

# What tells a built site from somebody's own folder.
_MARKS = (".nojekyll", "index.html")


class DiskSiteFolder:
    """See ``ports.site``. Never replaces a folder that holds anything but a built site."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def replace(self, files: Mapping[str, bytes]) -> None:
        place = self._place.absolute()
        self._refuse_strangers(place)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            fresh = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            _write(fresh / "new", files)
            _swap(fresh, place)
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def read(self) -> Mapping[str, bytes]:
        if not self._place.is_dir():
            raise SiteError(
                "site-missing",
                f"There is no folder {self._place}.",
                hint="Build it: shimmy-store site build --mode test --store-url URL --out dist",
            )
        try:
            found = sorted(path for path in self._place.rglob("*") if path.is_file())
            return {path.relative_to(self._place).as_posix(): path.read_bytes() for path in found}
        except OSError as error:
            raise SiteError(
                "site-unreadable",
                f"{self._place} cannot be read: {error}",
                hint="See to its rights.",
            ) from error

    def _refuse_strangers(self, place: Path) -> None:
        if place.is_symlink() or (place.exists() and not _may_go(place)):
            raise SiteError(
                "site-folder-refused",
                f"{self._place} holds something else than a built site and is left alone.",
                hint="Name an empty or a new folder with --out.",
            )

    def _unwritable(self, error: OSError) -> SiteError:
        return SiteError(
            "site-unwritable",
            f"{self._place} cannot be written: {error}",
            hint="The site that was there is still there. Free some space, or see to its rights.",
        )


def _may_go(place: Path) -> bool:
    if not place.is_dir():
        return False
    return not any(place.iterdir()) or all((place / name).is_file() for name in _MARKS)


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir()
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _swap(fresh: Path, place: Path) -> None:
    old = fresh / "old"
    if place.exists():
        place.rename(old)
    try:
        (fresh / "new").rename(place)
    except OSError:
        if old.exists():
            old.rename(place)
        raise
