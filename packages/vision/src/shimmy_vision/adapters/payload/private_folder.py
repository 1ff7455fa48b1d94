"""A folder that nobody but this user can reach, opened component by component.

Every step is taken relative to an open descriptor and follows no link, so that what was judged is
what is used, whoever renames things meanwhile.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from shimmy_vision.domain.payload.folder_trust import (
    FolderFacts,
    FolderFault,
    judge_own,
    judge_way,
)

# A folder above ours may be passed through without being readable.
_PASS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class UntrustedFolderError(OSError):
    """Somebody else could change what lies there; ``fault`` says how."""

    def __init__(self, fault: FolderFault) -> None:
        super().__init__(fault)
        self.fault = fault


def open_private_folder(path: Path) -> int:
    """A descriptor of ``path``, made with its parents where missing, mode 0700.

    A link or file in its place goes; what is ours and too open is closed to others. Raises
    UntrustedFolderError, or another OSError where it cannot be made.
    """
    above = _walk(path.parent.resolve())
    try:
        return open_own(path.name, above)
    finally:
        os.close(above)


def open_own(name: str, above: int) -> int:
    """A folder of ours inside ``above``, which is safe: made, mended, or refused as foreign."""
    try:
        os.mkdir(name, 0o700, dir_fd=above)
    except FileExistsError:
        if not stat.S_ISDIR(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=above)
            os.mkdir(name, 0o700, dir_fd=above)
    opened = os.open(name, _PASS, dir_fd=above)
    try:
        fault = judge_own(facts_of(opened), os.geteuid())
        if fault == "open-to-others":
            os.chmod(name, 0o700, dir_fd=above)
            fault = judge_own(facts_of(opened), os.geteuid())
        if fault is not None:
            raise UntrustedFolderError(fault)
        # Its owner may have taken the right to read from it; the mode is set, not only judged.
        os.chmod(name, 0o700, dir_fd=above)
        # Through what was judged: the name may stand for another folder by now.
        return os.open(".", _OPEN, dir_fd=opened)
    finally:
        os.close(opened)


def facts_of(descriptor: int) -> FolderFacts:
    """Of an open folder."""
    found = os.fstat(descriptor)
    return FolderFacts(stat.S_ISDIR(found.st_mode), found.st_uid, stat.S_IMODE(found.st_mode))


def _walk(path: Path) -> int:
    """The last of a path's folders, each of which was judged."""
    current = os.open(path.anchor, _PASS)
    try:
        way = [facts_of(current)]
        for name in path.parts[1:]:
            current = _step(current, name)
            way.append(facts_of(current))
    except BaseException:
        os.close(current)
        raise
    fault = judge_way(way, os.geteuid())
    if fault is not None:
        os.close(current)
        raise UntrustedFolderError(fault)
    return current


def _step(current: int, name: str) -> int:
    try:
        following = os.open(name, _PASS, dir_fd=current)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):  # Another process may be quicker.
            os.mkdir(name, 0o700, dir_fd=current)
        following = os.open(name, _PASS, dir_fd=current)
    os.close(current)
    return following
