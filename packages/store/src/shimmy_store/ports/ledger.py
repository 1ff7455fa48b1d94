"""What the store remembers: events heard, customers looked after, messages to send, alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from shimmy_store.domain.fulfilment import Alarm

EventState: TypeAlias = Literal["pending", "done", "unknown", "parked"]


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """A webhook as it arrived; ``customer`` and ``payment`` are empty where it names none."""

    id: str
    type: str
    customer: str
    created: datetime
    received: datetime
    body: str = field(repr=False)
    payment: str = ""


@dataclass(frozen=True, slots=True)
class PendingEvent:
    """An event that still has to be looked at; ``attempts`` failed so far."""

    id: str
    type: str
    customer: str
    received: datetime
    attempts: int
    payment: str = ""


@dataclass(frozen=True, slots=True)
class CustomerRecord:
    """One Stripe customer, as last settled. ``origin`` named the licence when it was first made."""

    customer: str
    origin: str | None = None
    settled: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """This customer is ours until ``until``; ``horizon`` bounds the events heard before that."""

    record: CustomerRecord
    owner: str
    until: datetime
    horizon: int


@dataclass(frozen=True, slots=True)
class Message:
    """A mail to send once; ``key`` is the same whoever decides to send it."""

    key: str
    customer: str
    kind: str
    body: str = field(repr=False)


class Ledger(Protocol):
    """Each method is one atomic step; all raise LedgerError, retryable, when it cannot be taken.

    Times are kept to the microsecond, in UTC.
    """

    async def add_event(self, event: HeardEvent, state: EventState) -> bool:
        """Keep an event; False if its id was heard before."""
        ...

    async def due_events(self, now: datetime, most: int) -> Sequence[PendingEvent]:
        """Pending events whose time has come, oldest first."""
        ...

    async def lease_customer(
        self, customer: str, owner: str, now: datetime, until: datetime
    ) -> Lease | None:
        """Take a customer; None while somebody else has it. A lease that ran out is anybody's."""
        ...

    async def settle_customer(
        self,
        lease: Lease,
        record: CustomerRecord,
        messages: Sequence[Message],
        now: datetime,
    ) -> bool:
        """All at once: the record, the messages, and events up to the horizon done.

        False, and nothing happened, if the lease is not ours any more.
        """
        ...

    async def release_customer(self, lease: Lease) -> None:
        """Give a customer back unsettled."""
        ...

    async def assign_event(self, event: str, customer: str) -> None:
        """Whose event this is, once that has been found out; nobody's is done."""
        ...

    async def postpone_event(self, event: str, error: str, again: datetime | None) -> None:
        """Note a failure; ``again`` None parks the event and raises an alarm."""
        ...

    async def due_messages(self, now: datetime, most: int) -> Sequence[Message]:
        """Messages not sent yet whose time has come, oldest first."""
        ...

    async def mark_sent(self, key: str, now: datetime) -> None:
        """The message went out."""
        ...

    async def postpone_message(self, key: str, error: str, again: datetime) -> None:
        """The message did not go out."""
        ...

    async def raise_alarms(self, alarms: Sequence[Alarm], now: datetime) -> None:
        """Each once, however often it is raised."""
        ...

    async def open_alarms(self) -> Sequence[Alarm]:
        """Alarms that nobody has acknowledged, oldest first."""
        ...

    async def oldest_pending(self) -> datetime | None:
        """When the oldest event that is not done was received."""
        ...
