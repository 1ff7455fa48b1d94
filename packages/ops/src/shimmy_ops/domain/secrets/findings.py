"""What a scan says: a kind, a place, a value that is never whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

_SHOWN = 4
_FINGERPRINT_DIGITS = 16


class Level(StrEnum):
    """Errors fail a scan; warnings do so only where asked."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Spot:
    """Where in a text: a line and column from 1, or an offset in bytes where there are no lines."""

    line: int = 0
    column: int = 0
    offset: int | None = None

    def __str__(self) -> str:
        return f"@{self.offset}" if self.offset is not None else f"{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Origin:
    """What was read: a path, the members that lead into it, the commit that brought it."""

    path: str
    members: tuple[str, ...] = ()
    commit: str | None = None

    def __str__(self) -> str:
        place = "!".join((self.path, *self.members))
        return f"{self.commit[:12]}:{place}" if self.commit else place

    def inside(self, member: str) -> Origin:
        """A member of what was read here."""
        return Origin(self.path, (*self.members, member), self.commit)

    @property
    def full(self) -> str:
        """The path with all members, as an allow-list names it."""
        return "!".join((self.path, *self.members))


@dataclass(frozen=True, slots=True)
class Match:
    """A secret in a text, from ``start`` to ``end``; the value leaves this object only masked."""

    kind: str
    start: int
    end: int
    value: str

    def __repr__(self) -> str:
        return f"Match({self.kind!r}, {self.start}, {self.end}, {mask(self.value)!r})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that must not be published, or that nobody could look into."""

    kind: str
    origin: Origin
    spot: Spot
    shown: str
    fingerprint: str
    remedy: str
    level: Level = Level.ERROR
    repeats: int = 0


def mask(value: str) -> str:
    """The first characters and the length: at most four, and never more than a quarter."""
    return f"{value[: min(_SHOWN, len(value) // 4)]}… ({len(value)} characters)"


def fingerprint(value: str) -> str:
    """What an allow-list names instead of the value."""
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return digest[:_FINGERPRINT_DIGITS]


def redact(text: str, matches: Iterable[Match]) -> str:
    """``text`` with every match masked: file names can be secrets too."""
    for match in sorted(matches, key=lambda found: found.start, reverse=True):
        text = text[: match.start] + mask(match.value) + text[match.end :]
    return text
