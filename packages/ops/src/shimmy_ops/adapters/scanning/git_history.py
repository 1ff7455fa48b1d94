"""Everything that a clone would get: blobs, commit messages and tags, each object once."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

from shimmy_ops.adapters.scanning.git_commands import GitCommands
from shimmy_ops.domain.secrets.findings import Origin
from shimmy_ops.errors import ScanError
from shimmy_ops.ports.scanning import Piece, Unread

_LARGEST = 256 << 20


class GitHistory:
    """The history of the repository around a folder."""

    def __init__(self, folder: Path, git: GitCommands) -> None:
        self._folder = folder
        self._git = git

    def pieces(self) -> Iterator[Piece | Unread]:
        """Blobs are named by the oldest commit that brought them; renames cost nothing."""
        if self._git.ask(self._folder, "rev-parse", "--is-shallow-repository").strip() == b"true":
            raise ScanError(
                "history-incomplete",
                f"{self._folder} is a shallow clone: most of its history is not here.",
                hint="Run git fetch --unshallow first.",
            )
        origins = self._origins()
        with self._git.talk(self._folder, "cat-file", "--batch", "--buffer") as reader:
            asking = Thread(target=_ask, args=(reader, tuple(origins)), daemon=True)
            asking.start()
            for name, origin in origins.items():
                piece = _answer(reader, name, origin)
                if piece is not None:
                    yield piece
            asking.join()

    def _origins(self) -> dict[str, Origin]:
        """By object id. The walk names every reachable object, the log who brought the blobs."""
        brought = self._brought()
        listed = self._git.ask(self._folder, "rev-list", "--objects", "--all", *self._head())
        origins = {}
        for line in listed.splitlines():
            name, _, path = line.partition(b" ")
            key = name.decode("ascii")
            # A commit stands without a path; a tree is asked for as well and passed over.
            origin = Origin(os.fsdecode(path) or "(message)", commit=key if not path else None)
            origins[key] = brought.get(key, origin)
        return origins

    def _brought(self) -> dict[str, Origin]:
        words = ("log", "--all", *self._head(), "--reverse", "--topo-order", "--root", "-m")
        told = self._git.ask(
            self._folder, *words, "--raw", "-z", "--no-abbrev", "--no-renames", "--format=%x01%H"
        )
        brought: dict[str, Origin] = {}
        commit, fields = "", iter(told.split(b"\0"))
        for word in fields:
            field = word.lstrip(b"\n")
            if field.startswith(b"\x01"):
                commit = field[1:].decode("ascii").strip()
            elif field.startswith(b":"):
                blob = field.split(b" ")[3].decode("ascii")
                brought.setdefault(blob, Origin(os.fsdecode(next(fields)), commit=commit))
        return brought

    def _head(self) -> tuple[str, ...]:
        """A detached HEAD is a place that no ref leads to."""
        try:
            self._git.ask(self._folder, "rev-parse", "--verify", "--quiet", "HEAD")
        except ScanError:
            return ()
        return ("HEAD",)


def _ask(reader: subprocess.Popen[bytes], names: tuple[str, ...]) -> None:
    if reader.stdin is None:
        return
    try:
        for name in names:
            reader.stdin.write(name.encode() + b"\n")
        reader.stdin.close()
    except (OSError, ValueError):  # the scan was stopped
        return


def _answer(reader: subprocess.Popen[bytes], name: str, origin: Origin) -> Piece | Unread | None:
    if reader.stdout is None:
        return None
    head = reader.stdout.readline().split()
    if len(head) != 3 or head[0].decode() != name:
        raise ScanError(
            "git-failed",
            f"git has no object {name} that its history needs.",
            hint="Run git fsck; a partial clone needs git fetch --refetch.",
        )
    kind, size = head[1], int(head[2])
    if kind == b"blob" and size > _LARGEST:
        _skip(reader, size + 1)
        return Unread(origin, f"it is larger than {_LARGEST >> 20} MiB")
    content = reader.stdout.read(size + 1)[:-1]
    if len(content) != size:
        raise ScanError("git-failed", "git stopped in the middle of an object.")
    return None if kind == b"tree" else Piece(origin, content)


def _skip(reader: subprocess.Popen[bytes], size: int) -> None:
    while reader.stdout is not None and size > 0:
        size -= len(reader.stdout.read(min(size, 1 << 20))) or size
