"""Which machine of several counts a page that more than one of them analysed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from shimmy_vision.ports.licence_state import Pages


class PageClaims(Protocol):
    """Shared by the machines of a fleet. ``key`` is the licence's.

    Only ``check`` raises: where the fleet cannot be asked, a machine counts its pages by itself.
    """

    def taken(self, key: str, pages: str) -> bool:
        """Whether another machine counts the pages of this id."""
        ...

    def counting(self, key: str, pages: Pages) -> AbstractContextManager[bool]:
        """True where this machine is to count ``pages``, as no other one does.

        Within the block it counts them. Who does not come to the block's end finds them among
        ``pending`` later.
        """
        ...

    def pending(self, key: str) -> Sequence[Pages]:
        """Pages that this machine was to count, and may not have."""
        ...

    def check(self) -> None:
        """Raises LicenceStateError where the fleet cannot be asked."""
        ...


class NoClaims:
    """For a machine that is no part of a fleet."""

    def taken(self, _key: str, _pages: str) -> bool:
        """There is no other."""
        return False

    @contextmanager
    def counting(self, _key: str, _pages: Pages) -> Iterator[bool]:
        """It counts everything."""
        yield True

    def pending(self, _key: str) -> Sequence[Pages]:
        """Its own record knows."""
        return ()

    def check(self) -> None:
        """Nothing to ask."""
