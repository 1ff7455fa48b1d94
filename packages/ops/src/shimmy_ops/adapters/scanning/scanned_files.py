"""Files on the disk: what git tracks in a folder, everything in it, or one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from shimmy_ops.adapters.scanning.git_commands import GitCommands
from shimmy_ops.domain.secrets.findings import Origin
from shimmy_ops.ports.scanning import Piece, Unread

_LARGEST = 1 << 30


class ScannedFiles:
    """One file or folder that the operator named."""

    def __init__(self, place: Path, git: GitCommands, *, everything: bool) -> None:
        self._place = place
        self._git = git
        self._everything = everything

    def pieces(self) -> Iterator[Piece | Unread]:
        """Paths are told as in the repository; a file that went away meanwhile is left out."""
        whole, folder = self._place.resolve(), self._place.is_dir()
        top = self._git.top(whole if folder else whole.parent)
        if not folder:
            inside = top is not None and whole.is_relative_to(top)
            name = whole.relative_to(top).as_posix() if top and inside else str(self._place)
            yield from _read(self._place, name)
            return
        before = whole.relative_to(top) if top else Path()
        for name in self._names(tracking=top is not None):
            yield from _read(self._place / name, (before / name).as_posix())

    def _names(self, *, tracking: bool) -> Iterator[str]:
        if tracking and not self._everything:
            tracked = tuple(self._git.tracked(self._place))
            yield from tracked
            # What git ignores was named all the same, as `dist` is: it is meant whole.
            if tracked:
                return
        for folder, folders, files in os.walk(self._place):
            folders.sort()
            # Git's own files are scanned with the history; its settings may hold a password.
            if Path(folder).name == ".git":
                folders.clear()
                files = [name for name in files if name == "config" and self._everything]
            for name in sorted(files):
                yield Path(folder, name).relative_to(self._place).as_posix()


def _read(path: Path, name: str) -> Iterator[Piece | Unread]:
    origin = Origin(name)
    try:
        if path.is_symlink():
            yield Piece(origin, os.fsencode(path.readlink()))
        elif not path.is_file():
            return
        elif path.stat().st_size > _LARGEST:
            yield Unread(origin, f"it is larger than {_LARGEST >> 20} MiB")
        else:
            yield Piece(origin, path.read_bytes())
    except FileNotFoundError:
        return
    except OSError as error:
        yield Unread(origin, f"it cannot be read ({error.strerror})")
