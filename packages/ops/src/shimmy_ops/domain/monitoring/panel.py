"""What a dashboard is made of: panels with facts and tables, all of them plain text.

A panel has facts (a name, a value, how good that is) and perhaps a table. What could not be read
has ``unknown`` instead. Every text is plain (``wording.plain``); nothing here is markup.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_ops.domain.monitoring.picture import Unknown
from shimmy_ops.domain.monitoring.wording import count, plain, seconds

Mark: TypeAlias = Literal["good", "bad", "unknown", "none"]
SIGNS: dict[Mark, str] = {"good": "✓", "bad": "✗", "unknown": "?", "none": ""}


@dataclass(frozen=True, slots=True)
class Fact:
    """A name and its value; ``mark`` is told by a sign and, at need, a colour, never by colour."""

    name: str
    value: str
    mark: Mark = "none"


@dataclass(frozen=True, slots=True)
class Cell:
    """One place of a table; ``number`` aligns to the right.

    ``part`` is a share of one to be drawn as a bar before the text.
    """

    text: str
    number: bool = False
    mark: Mark = "none"
    part: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """``caption`` says what it is of; each row has as many cells as there are headings."""

    caption: str
    headings: tuple[Cell, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One box of the dashboard; ``empty`` is said where there is neither fact nor row."""

    id: str
    title: str
    facts: tuple[Fact, ...] = ()
    table: Table | None = None
    unknown: str = ""
    empty: str = ""


def unread(ident: str, title: str, found: Unknown) -> Panel:
    """The panel of a source that could not be read."""
    reason = plain(found.reason) or "no reason given"
    return Panel(ident, title, unknown=reason)


def waiting(number: int, oldest: float | None) -> str:
    """How many wait, and the oldest of them for how many seconds."""
    return count(number) if oldest is None else f"{count(number)}, oldest {seconds(oldest)}"
