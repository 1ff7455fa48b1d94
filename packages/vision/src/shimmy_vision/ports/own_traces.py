"""What this program leaves on a machine, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Trace:
    """A file or folder of ours; ``size`` in bytes, of a folder all that is in it."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class RemovedTrace:
    """It is gone."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class LeftTrace:
    """It is still there, and why; ``foreign`` where it has to stay for others."""

    path: Path
    reason: str
    foreign: bool = False
