"""Where releases are kept, where their parts go, and who is asked whether they answer."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import PurePath
from typing import Protocol

from shimmy_ops.domain.releases.records import History, Part, Release
from shimmy_ops.domain.releases.smoke import Answers
from shimmy_ops.domain.releases.state import State


class Shelf(Protocol):
    """Objects, records and state. Everything raises ReleaseError or KeepingError."""

    def hold(self) -> AbstractContextManager[None]:
        """Nobody else puts anything in place meanwhile."""

    def history(self) -> History:
        """All records."""

    def append(self, release: Release) -> None:
        """Keep a new record."""

    def state(self) -> State:
        """What is in place, was good, is half done."""

    def keep_state(self, state: State) -> None:
        """Whole or not at all."""

    def add_folder(self, folder: PurePath) -> str:
        """Copy a folder in; the object's digest. The same again changes nothing."""

    def add_config(self, text: str) -> str:
        """Keep a configuration; the object's digest."""

    def folder(self, digest: str) -> PurePath:
        """Where the object's files are; nobody changes them."""

    def damage(self, digest: str) -> list[str]:
        """What is wrong with an object; empty: every byte is as it was."""

    def objects(self) -> frozenset[str]:
        """Digests of all objects that are there."""

    def config_text(self, digest: str) -> str:
        """A configuration's text."""

    def index_digest(self, digest: str) -> str:
        """SHA-256 of a site's first page, empty where it has none."""


class Places(Protocol):
    """Where parts go. Everything raises ReleaseError."""

    def managed(self) -> frozenset[Part]:
        """The parts that the profile has a place for."""

    def commanded(self) -> frozenset[Part]:
        """Those of them that a command puts in place: nobody can look what is there."""

    def holds(self, part: Part, digest: str) -> bool | None:
        """Whether this object is in place; None where nobody can tell."""

    def remember(self, part: Part) -> str:
        """What is in place, in words that ``put_back`` takes; empty: nothing, or nobody knows."""

    def put(self, part: Part, digest: str) -> None:
        """Put this object in place, at once."""

    def put_back(self, part: Part, before: str) -> None:
        """What ``remember`` said is in place again."""

    def restarts(self) -> bool:
        """Whether the profile says how."""

    def restart(self) -> str:
        """Have the store begin anew, where the profile says how; why not, empty if it did."""


class Witness(Protocol):
    """Asks as anybody would; never raises."""

    def answers(self, paths: tuple[str, ...], *, site: bool, started: bool) -> Answers:
        """The store's pages; the site's first page and the store's start where asked for."""

    def schema(self) -> int | None:
        """Of the ledger, where the store tells."""

    def started(self) -> str:
        """When the store began to serve, where it tells."""

    def pause(self) -> bool:
        """Wait a moment; False when the patience is over."""

    def begin(self) -> None:
        """The patience begins now."""
