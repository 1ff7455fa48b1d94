"""What the store remembers: events, customers, messages to send, links, tries, alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from shimmy_store.domain.catalog import PlanId
from shimmy_store.domain.fulfilment import Alarm, AlarmCode
from shimmy_store.domain.notices import Notice

EventState: TypeAlias = Literal["pending", "done", "unknown", "parked"]
LinkKind: TypeAlias = Literal["sign-in", "merge"]

# Their subjects are no purchases: the same may go wrong again long after somebody has looked.
RECURRING: frozenset[AlarmCode] = frozenset(
    {"credentials-refused", "work-late", "wrong-mode", "price-differs"}
)


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
class DueWork:
    """A customer to look at, by the oldest of ``events`` that tell so; or an event of nobody."""

    event: PendingEvent
    events: int


@dataclass(frozen=True, slots=True)
class CustomerRecord:
    """One Stripe customer, as last settled.

    ``origin`` names the licence, from just before it is first made; ``plan`` is the last one
    settled and ``changes`` counts how often it changed. ``merged_into`` is the customer whose
    licence stands for this one's purchases too, empty for nobody's; ``given_up`` are subscriptions
    that ended with that merge. ``email`` is as Stripe has it. Time alone changes something at
    ``look_again``. Of one who was ``erased`` nothing is kept but ids, and nothing is given.
    """

    customer: str
    origin: str | None = None
    email: str = field(repr=False, default="")
    plan: PlanId | None = None
    changes: int = 0
    merged_into: str = ""
    given_up: tuple[str, ...] = ()
    settled: datetime | None = None
    look_again: datetime | None = None
    erased: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """This customer is ours until ``until``; ``token`` marks the ``events`` known by then."""

    record: CustomerRecord
    token: str
    until: datetime
    events: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Message:
    """A mail to send, with since when, and how often that has failed."""

    notice: Notice
    customer: str
    added: datetime
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Link:
    """A single-use right to be mailed.

    ``id`` is no secret: what is mailed is signed. ``browser`` is a digest of what the asking
    browser holds, empty where any browser may use it. ``mailbox`` is where it was mailed to: it
    proves nothing of customers who have another one by now.
    """

    id: str
    kind: LinkKind
    customers: tuple[str, ...]
    browser: str
    expires: datetime
    used: datetime | None = None
    mailbox: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Stock:
    """What lies in the ledger now; ``oldest_event`` is the oldest pending one."""

    events: dict[EventState, int]
    oldest_event: datetime | None
    messages_waiting: int
    oldest_message: datetime | None
    messages_parked: int
    alarms: int


class Ledger(Protocol):
    """Each method is one atomic step; all raise LedgerError, retryable, when it cannot be taken.

    Times are kept to the microsecond, in UTC. Whatever somebody else still writes about a customer
    who is erased meanwhile, no address, message or link of theirs is kept.
    """

    async def add_event(self, event: HeardEvent, state: EventState) -> bool:
        """Keep an event, without its body if its customer was erased; False if its id was heard
        before.
        """
        ...

    async def unheard(self, events: Sequence[str]) -> frozenset[str]:
        """Those of at most 90 events' ids that were never heard of."""
        ...

    async def heard_through(self) -> datetime | None:
        """Up to where Stripe's events were compared with these, by its clock; at first the oldest
        one heard, None where none ever was.
        """
        ...

    async def note_heard_through(self, moment: datetime) -> None:
        """Everything up to then was compared."""
        ...

    async def wake_customers(self, now: datetime) -> None:
        """An event for each customer whose time to be looked at again has come.

        What waits, and leases, from while a clock was far ahead wait for that time no more.
        """
        ...

    async def due_work(self, now: datetime, most: int) -> Sequence[DueWork]:
        """Customers with pending events whose time has come, each once, oldest event first.

        Not those who are leased; events of nobody known yet each stand for themselves.
        """
        ...

    async def due_events(
        self, now: datetime, most: int, customer: str | None = None
    ) -> Sequence[PendingEvent]:
        """Pending events whose time has come, oldest first; of one customer, or of everybody."""
        ...

    async def lease_customer(
        self, customer: str, owner: str, now: datetime, until: datetime
    ) -> Lease | None:
        """Take a customer; None while somebody else has it. A lease that ran out is anybody's.

        Events of the customer that are pending now will be done when the lease is settled; those
        that come later tell of something Stripe may not have known when it was asked.
        """
        ...

    async def leases_in_the_way(self, now: datetime) -> Sequence[tuple[str, str]]:
        """Customers with events that are due and somebody's lease, and that lease's token.

        A token is the owner, a space, a number.
        """
        ...

    async def shorten_lease(self, token: str, until: datetime) -> None:
        """It ends then, or sooner if it would have; one that is over stays over."""
        ...

    async def settle_customer(
        self, lease: Lease, record: CustomerRecord, notices: Sequence[Notice], now: datetime
    ) -> bool:
        """All at once: the record, the messages, and the events known at the lease done.

        Messages that were given up wait again where the address is another one now. False if the
        lease is not ours any more: nothing is settled then, but an event tells to look at the
        customer again, since whoever had the lease meanwhile may not have had the last word.
        """
        ...

    async def note_origin(self, lease: Lease, origin: str) -> bool:
        """Keep what names the licence, before it is made; False if the lease is not ours."""
        ...

    async def release_customer(self, lease: Lease, now: datetime) -> None:
        """Give a customer back unsettled; one that is not ours any more is looked at again."""
        ...

    async def merge_customers(
        self, keeper: Lease, loser: Lease, given_up: Sequence[str], link: str, now: datetime
    ) -> bool:
        """All at once: the link is used, the loser and whoever was merged into it belong to the
        keeper, an event tells to look at the keeper, and both leases are given back.

        False, and nothing happened, if a lease is not ours or the link is used.
        """
        ...

    async def customer(self, customer: str) -> CustomerRecord | None:
        """What is on record."""
        ...

    async def merged_into(self, customer: str) -> Sequence[CustomerRecord]:
        """Those for whose purchases this customer's licence stands, too."""
        ...

    async def customers_of(self, email: str) -> Sequence[CustomerRecord]:
        """Candidates: customers whose address differs from this one at most in letter case."""
        ...

    async def assign_event(self, event: str, customer: str, now: datetime) -> None:
        """Whose event this is, once that has been found out; nobody's is done."""
        ...

    async def postpone_event(self, event: str, error: str, again: datetime | None) -> None:
        """Note a failure; ``again`` None parks the event and raises an alarm."""
        ...

    async def retry(self, name: str | None, now: datetime) -> int:
        """What was parked is as if it had just come: one event or message, or all for None.

        How many that are; their alarms are gone with it, to be raised anew.
        """
        ...

    async def add_message(self, notice: Notice, customer: str, now: datetime) -> None:
        """Send this, once, however often it is added."""
        ...

    async def take_messages(self, now: datetime, until: datetime, most: int) -> Sequence[Message]:
        """Unsent messages whose time has come, oldest first; nobody else's until ``until``."""
        ...

    async def mark_sent(self, key: str, now: datetime) -> None:
        """The message went out, or there is nobody to send it to."""
        ...

    async def postpone_message(self, key: str, error: str, again: datetime | None) -> None:
        """The message did not go out; ``again`` None parks it and raises an alarm."""
        ...

    async def add_link(self, link: Link) -> None:
        """Keep a link; added again unused, it is good for longer."""
        ...

    async def link(self, identifier: str) -> Link | None:
        """A link, used or not."""
        ...

    async def use_link(self, identifier: str, browser: str, now: datetime) -> bool:
        """Use it up: True for one caller only, and only in time and in the right browser."""
        ...

    async def count_try(self, name: str, period: int) -> int:
        """How many tries of this name there have been in this period, this one included."""
        ...

    async def raise_alarms(
        self, alarms: Sequence[Alarm], now: datetime, customer: str = ""
    ) -> None:
        """Each once, however often it is raised; ``RECURRING`` ones again a day after somebody
        has looked. ``customer`` is whom they concern, where that is one.
        """
        ...

    async def open_alarms(self) -> Sequence[Alarm]:
        """Alarms that nobody has acknowledged, in the order in which they were first raised."""
        ...

    async def acknowledge_alarm(self, alarm: Alarm, now: datetime) -> bool:
        """Somebody has looked; False if no such alarm is open."""
        ...

    async def prove_writable(self, now: datetime) -> None:
        """Write something that nobody reads; on a full disk it raises LedgerError."""
        ...

    async def take_stock(self) -> Stock:
        """Counts for health and metrics."""
        ...

    async def bookmark(self) -> str:
        """The customer that was looked at last, of all that are being gone through; or empty."""
        ...

    async def set_bookmark(self, customer: str) -> None:
        """Go on behind this one the next time; empty: begin anew."""
        ...

    async def forget(self, before: datetime, period: int) -> int:
        """Drop bodies of events done before, links that ran out, tries of earlier periods, and
        requests to sign in that were answered before.
        """
        ...
