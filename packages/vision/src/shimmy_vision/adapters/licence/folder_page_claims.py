"""The ``PageClaims`` port on a folder that all machines of a fleet share.

A claim is a small file under the page's name, made by linking it there: of several machines one
succeeds, also on NFS, where making a file exclusively may be told to have failed when it did not.
The link's other end stays in the machine's own folder until the page is in its own record, so that
whoever was killed in between counts it when he is back.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from shimmy_vision.errors import LicenceStateError
from shimmy_vision.ports.licence_state import Pages
from shimmy_vision.ports.page_claims import NoClaims, PageClaims

_LOG = logging.getLogger("shimmy_vision.licence")
# A page comes again under its key for a day; a clock or two may be wrong.
_KEPT_SECONDS = 2 * 86_400
# Of 256 claims so many look for old ones beside them.
_SWEEPERS = 4


def open_claims(folder: Path | None, fingerprint: str) -> PageClaims:
    """Of the fleet that shares ``folder``, or of no fleet."""
    return NoClaims() if folder is None else FolderPageClaims(folder, fingerprint)


class FolderPageClaims:
    """``folder`` must be there: one that is not mounted is not made here."""

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder
        # The fingerprint itself opens the machine file, together with the key.
        self._machine = hashlib.sha256(fingerprint.encode()).hexdigest()[:32]
        self._own = folder / "machines" / self._machine

    def taken(self, key: str, pages: str) -> bool:
        return self._owner(_name(key, pages)) not in (None, self._machine)

    @contextmanager
    def counting(self, key: str, pages: Pages) -> Iterator[bool]:
        name = _name(key, pages.id)
        ours = self._claim(name, pages)
        yield ours
        with suppress(OSError):
            for one in self._own.glob(f"{name}.*"):
                one.unlink(missing_ok=True)

    def pending(self, key: str) -> Sequence[Pages]:
        found: dict[str, Pages] = {}
        with suppress(OSError):
            for one in sorted(self._own.glob("*.*")):
                pages = _pages_in(one)
                if pages is None or one.stem != _name(key, pages.id):
                    continue
                if self._owner(one.stem) == self._machine:
                    found[pages.id] = pages
        self._sweep(self._own)
        return tuple(found.values())

    def check(self) -> None:
        if not os.access(self._folder, os.R_OK | os.W_OK | os.X_OK):
            raise LicenceStateError(
                "fleet-folder-unusable",
                "The folder that the machines of this fleet share is missing or read-only.",
                hint="Mount it where SHIMMY_FLEET_DIR says, writable for this user.",
                retryable=True,
            )

    def _claim(self, name: str, pages: Pages) -> bool:
        """Whether this machine has it. Counting it here, where nobody can be asked, may count it

        twice; leaving it out would give away all pages while the folder is gone.
        """
        place = self._place(name)
        try:
            self._make_folders(place.parent)
            own = self._own / f"{name}.{uuid.uuid4().hex[:8]}"
            _write(own, {"machine": self._machine, **_fields(pages)})
            with suppress(FileExistsError):
                os.link(own, place)
            ours = own.stat().st_nlink > 1 or self._owner(name) == self._machine
        except OSError as error:
            _LOG.warning("fleet-folder-unusable %s", type(error).__name__)
            return True
        if int(name[2:4], 16) < _SWEEPERS:
            self._sweep(place.parent)
        return ours

    def _place(self, name: str) -> Path:
        return self._folder / "claims" / name[:2] / name

    def _make_folders(self, shelf: Path) -> None:
        # Never the shared folder itself: where it is not mounted, a local one would pass for it.
        for folder in (shelf.parent, shelf, self._own.parent, self._own):
            folder.mkdir(mode=0o700, exist_ok=True)

    def _owner(self, name: str) -> str | None:
        """The machine that has claimed it, if one has."""
        try:
            owner = json.loads(self._place(name).read_text(encoding="utf-8"))["machine"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return str(owner)

    def _sweep(self, shelf: Path) -> None:
        oldest = time.time() - _KEPT_SECONDS
        with suppress(OSError):
            for one in shelf.iterdir():
                if one.stat().st_mtime < oldest:
                    one.unlink(missing_ok=True)


def _name(key: str, pages: str) -> str:
    """Of pages under one licence; neither can be told from it."""
    return hashlib.sha256(f"{key}\0{pages}".encode()).hexdigest()


def _fields(pages: Pages) -> dict[str, str | int]:
    return {"id": pages.id, "pages": pages.count, "at": pages.at.isoformat()}


def _pages_in(place: Path) -> Pages | None:
    """What was written there; None for half a file, whose page nobody has claimed."""
    try:
        read = json.loads(place.read_text(encoding="utf-8"))
        return Pages(str(read["id"]), int(read["pages"]), datetime.fromisoformat(read["at"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(place: Path, fields: dict[str, str | int]) -> None:
    made = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(made, "w", encoding="utf-8") as file:
        json.dump(fields, file)
