"""Letters: what is in them, who writes them and who carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from shimmy_store.domain.catalog import Plan
from shimmy_store.domain.notices import NoticeKind

LinkName: TypeAlias = Literal["licence", "sign-in", "merge", "pricing"]


@dataclass(frozen=True, slots=True)
class Letter:
    """What a letter is written from.

    ``plan`` is the one it tells of and ``before`` the one it took the place of; ``date`` is written
    out, and it means the end of access or of a plan. What a kind does not tell of is empty.
    """

    kind: NoticeKind
    plan: Plan | None = None
    before: Plan | None = None
    reason: str = ""
    date: str = ""
    key: str = field(repr=False, default="")
    links: Mapping[LinkName, str] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class Written:
    """A letter in words."""

    subject: str
    text: str = field(repr=False)
    html: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mail:
    """A letter on its way; ``key`` is the same whenever it is sent again."""

    key: str
    to: str = field(repr=False)
    written: Written


class LetterWriter(Protocol):
    """Puts letters into words."""

    def write(self, letter: Letter) -> Written:
        """Plain text and HTML of the same content."""
        ...


class Mailer(Protocol):
    """Carries mail. Raises MailError; after one it may have been delivered or not."""

    async def send(self, mail: Mail) -> None:
        """Hand it over; sending one with the same key again may deliver it once or twice."""
        ...


class LinkSigner(Protocol):
    """Makes what is mailed from a link's id, so that knowing the ledger is not enough."""

    def token(self, link: str) -> str:
        """What the mailed address carries; the same each time."""
        ...

    def read(self, token: str) -> str | None:
        """The link's id; None for anything that was not signed here."""
        ...
