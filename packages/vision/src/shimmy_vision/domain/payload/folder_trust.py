"""Can anybody else change what lies in this folder?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

_GROUP_WRITES, _OTHERS_WRITE, _STICKY = 0o020, 0o002, 0o1000
_ROOT = 0

FolderFault: TypeAlias = Literal["no-folder", "foreign-owner", "open-to-others"]


@dataclass(frozen=True, slots=True)
class FolderFacts:
    """As ``fstat`` tells it of an opened folder; ``mode`` are the permission bits."""

    is_folder: bool
    owner: int
    mode: int


def judge_way(parents: Iterable[FolderFacts], me: int) -> FolderFault | None:
    """The folders above ours: whoever owns or may write one can put another in its place.

    In a sticky folder, like ``/tmp``, others may add names but not touch ours.
    """
    for one in parents:
        if not one.is_folder:
            return "no-folder"
        if one.owner not in (_ROOT, me):
            return "foreign-owner"
        if one.mode & (_GROUP_WRITES | _OTHERS_WRITE) and not one.mode & _STICKY:
            return "open-to-others"
    return None


def judge_own(folder: FolderFacts, me: int) -> FolderFault | None:
    """A folder that we made: ours, and nobody else may even look into it."""
    if not folder.is_folder:
        return "no-folder"
    if folder.owner != me:
        return "foreign-owner"
    return "open-to-others" if folder.mode & 0o077 else None
