"""What is kept of licences and pages between runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shimmy_vision.domain.licence.licence_facts import Denial
from shimmy_vision.domain.licence.metering import Batch


@dataclass(frozen=True, slots=True)
class LicenceRecord:
    """One licence on this machine, as kept.

    ``certificate`` is the machine file, empty without one. ``tried`` is the last attempt to
    confirm and ``trouble`` why it failed. ``counted`` is the server's latest count of pages,
    ``waiting`` and ``reserved`` sum up the pages kept here, ``uncounted`` those given up, ``total``
    all that were ever analysed here. ``sync_failed`` is when reporting last found no server,
    ``place`` which file this was last kept in.
    """

    name: str
    certificate: str = field(repr=False, default="")
    denial: Denial | None = None
    latest_seen: datetime | None = None
    tried: datetime | None = None
    trouble: str = ""
    counted: int = 0
    waiting: int = 0
    reserved: int = 0
    uncounted: int = 0
    total: int = 0
    sync_failed: datetime | None = None
    place: str = ""


@dataclass(frozen=True, slots=True)
class Pages:
    """Pages of one analysis; ``at`` is when they were reserved."""

    id: str
    count: int
    at: datetime


class LicenceSession(Protocol):
    """One transaction on one licence: everything it does happens, or nothing of it."""

    @property
    def record(self) -> LicenceRecord:
        """As it stands, an empty one for a licence never seen here."""
        ...

    def update(
        self,
        *,
        certificate: str = ...,
        denial: Denial | None = ...,
        latest_seen: datetime = ...,
        tried: datetime = ...,
        trouble: str = ...,
        counted: int = ...,
        total: int = ...,
        sync_failed: datetime | None = ...,
    ) -> None:
        """Change what is given and leave the rest; the sums of pages keep themselves."""
        ...

    def keep_key(self) -> None:
        """Keep this licence's key as the machine's own."""
        ...

    def forget_key(self) -> None:
        """Keep no key any more."""
        ...

    def waiting_since(self, moment: datetime) -> int:
        """Committed and reserved pages of ``moment`` or later."""
        ...

    def oldest_waiting(self) -> datetime | None:
        """When the oldest committed page was reserved."""
        ...

    def reserve(self, pages: Pages) -> None:
        """Keep pages as reserved by this process."""
        ...

    def commit(self, pages: Pages) -> None:
        """Turn pages into waiting ones, also if their reservation was taken for an orphan's.

        Pages that are counted already only lose their reservation.
        """
        ...

    def tally(self, pages: Pages) -> None:
        """Add pages to the total alone, where they were not counted before: nobody bills them."""
        ...

    def is_counted(self, pages: str) -> bool:
        """Whether pages of this id were committed or tallied, as far as that is remembered: for

        longer than any analysis takes.
        """
        ...

    def release(self, pages: str) -> int:
        """Drop reserved pages; how many."""
        ...

    def release_orphans(self, now: datetime) -> int:
        """Drop what dead processes had reserved; how many."""
        ...

    def batch(self) -> Batch | None:
        """The increment whose outcome is not known yet."""
        ...

    def waiting(self, most: int) -> Sequence[Pages]:
        """Waiting pages, oldest first, up to ``most`` pages in all (at least one entry)."""
        ...

    def open_batch(self, batch: Batch, pages: Sequence[Pages]) -> None:
        """Note, so that a power cut cannot undo it, that ``pages`` are about to be sent."""
        ...

    def doubt_batch(self, moment: datetime) -> None:
        """Note when the open batch was first missed in the count; a later time changes nothing."""
        ...

    def close_batch(self, *, applied: bool) -> int:
        """Settle the open batch: its pages are gone if ``applied``, else waiting; how many."""
        ...

    def drop_before(self, moment: datetime) -> int:
        """Give up waiting pages reserved before ``moment``; how many."""
        ...


class LicenceState(Protocol):
    """Every method raises LicenceStateError for a state that is damaged or cannot be used."""

    @property
    def durable(self) -> bool:
        """Whether anything outlives this process."""
        ...

    def kept_key(self) -> str | None:
        """The key activated on this machine."""
        ...

    def foreign_key(self) -> str | None:
        """A key that is kept, but was activated on another machine."""
        ...

    def leave_disk(self) -> None:
        """From now on keep everything in memory: the disk takes no more."""
        ...

    @property
    def left_disk(self) -> bool:
        """Whether the disk was left and not gone back to."""
        ...

    def try_disk_again(self, key: str) -> None:
        """Where the disk was left, look once a minute whether it takes what waits in memory for

        the licence of ``key``. If not, everything stays as it is.
        """
        ...

    def session(self, key: str, *, durable: bool = False) -> AbstractContextManager[LicenceSession]:
        """A transaction on the licence of ``key``; commits unless an exception leaves it."""
        ...

    def alone(self, wait: float) -> AbstractContextManager[bool]:
        """True for one process at a time; False when ``wait`` seconds were not enough."""
        ...

    def set_aside(self) -> None:
        """Rename a damaged state, so that a new one can be made; nothing is deleted."""
        ...
