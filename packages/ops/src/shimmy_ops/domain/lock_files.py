"""Is a lock file complete and free of hosts? What it pins must come from wherever one installs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PIN = re.compile(r"^[A-Za-z0-9._-]+(\[[^\]]+\])?==[A-Za-z0-9.!+_-]+( ; .+)?$")
_HASH = re.compile(r"^--hash=sha256:[0-9a-f]{64}$")
_PLACE = re.compile(
    r"https?://|git\+|file:|--(extra-)?index-url|--find-links|--trusted-host|^-[if] "
)


@dataclass(frozen=True, slots=True)
class LockFinding:
    """What is wrong with a line; ``line`` counts from 1."""

    file: str
    line: int
    problem: str


def check_lock_text(file: str, text: str) -> tuple[LockFinding, ...]:
    """Every requirement pinned to one version with a SHA-256, and no place named."""
    return tuple(_findings(file, text))


def _findings(file: str, text: str) -> Iterator[LockFinding]:
    pinned_at, hashes, goes_on = 0, 0, False
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip().removesuffix("\\").strip()
        if _PLACE.search(line):
            yield LockFinding(file, number, "it names a place to install from")
        elif line.startswith("--hash"):
            hashes += 1
            yield from _hash_findings(file, number, line, belongs=goes_on)
        elif line and not line.startswith("#"):
            if pinned_at and not hashes:
                yield LockFinding(file, pinned_at, "the requirement has no hash")
            pinned_at, hashes = number, 0
            if not _PIN.match(line):
                yield LockFinding(file, number, "the requirement is not pinned with ==")
        goes_on = raw.rstrip().endswith("\\")
    if not pinned_at:
        yield LockFinding(file, 1, "the lock is empty")
    elif not hashes:
        yield LockFinding(file, pinned_at, "the requirement has no hash")


def _hash_findings(file: str, number: int, line: str, *, belongs: bool) -> Iterator[LockFinding]:
    if not _HASH.match(line):
        yield LockFinding(file, number, "the hash is no SHA-256")
    if not belongs:
        yield LockFinding(file, number, "the hash belongs to no requirement")
