"""What the operator asks the ledger: figures, one customer's rows, their erasing, copies of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from shimmy_store.domain.ledger_dump import DumpRow, Value
from shimmy_store.ports.ledger import CustomerRecord


@dataclass(frozen=True, slots=True)
class KnownAlarm:
    """An alarm as the ledger has it; ``acknowledged`` None: nobody has looked."""

    code: str
    subject: str
    raised: datetime
    acknowledged: datetime | None = None


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """An event without its body; ``error`` is the code of its last failure."""

    id: str
    type: str
    state: str
    created: datetime
    received: datetime
    settled: datetime | None
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class KnownMessage:
    """A message without its facts."""

    key: str
    kind: str
    state: str
    added: datetime
    sent: datetime | None
    attempts: int
    error: str | None


@dataclass(frozen=True, slots=True)
class CustomerFile:
    """One customer, with the newest fifty events and messages, newest first."""

    record: CustomerRecord
    events: Sequence[KnownEvent]
    messages: Sequence[KnownMessage]
    alarms: Sequence[KnownAlarm]


@dataclass(frozen=True, slots=True)
class EventCounts:
    """Events: how many lie in which state now, and what came in since; durations in seconds.

    ``types`` and ``delivery`` are of webhooks; what the store tells itself is settled, too.
    """

    states: Mapping[str, int]
    types: Mapping[str, int]
    delivery: Sequence[float]
    settling: Sequence[float]
    oldest_pending: datetime | None


@dataclass(frozen=True, slots=True)
class MailCounts:
    """Messages that wait now, and the seconds that those sent since took."""

    waiting: int
    parked: int
    sending: Sequence[float]
    oldest_waiting: datetime | None


@dataclass(frozen=True, slots=True)
class CustomerCounts:
    """Customers who were not erased; ``with_licence`` and ``plans`` without those merged away."""

    count: int
    with_licence: int
    merged: int
    plans: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LedgerFigures:
    """Everything at one moment; ``schema`` is the number of migrations, alarms oldest first."""

    schema: int
    events: EventCounts
    mail: MailCounts
    customers: CustomerCounts
    alarms: Sequence[KnownAlarm]


@dataclass(frozen=True, slots=True)
class Erased:
    """``at`` is when it was done for the first time; ``rows`` that were changed now, by table."""

    at: datetime
    rows: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class LedgerCopy:
    """All rows at one moment, in the order and columns of ``domain.ledger_dump``."""

    schema: int
    tables: Mapping[str, Sequence[tuple[Value, ...]]] = field(repr=False)


class LedgerDesk(Protocol):
    """Each method sees one moment; all raise LedgerError."""

    async def figures(self, since: datetime) -> LedgerFigures:
        """What lies there now, and what happened since."""
        ...

    async def file_of(self, customer: str) -> CustomerFile | None:
        """What is known of a customer; None where nothing is."""
        ...

    async def files_with(self, email: str) -> Sequence[CustomerFile]:
        """Of all whose address differs at most in letter case."""
        ...

    async def rows_of(self, customer: str) -> Mapping[str, Sequence[tuple[Value, ...]]]:
        """Every row about a customer and those merged into it, in the columns of a dump.

        Also what names no customer and holds their address.
        """
        ...

    async def erase(self, customer: str, now: datetime) -> Erased:
        """All at once, for a customer and those merged into it: only ids stay.

        An event tells to look at each, so that their licences end.
        """
        ...

    async def alarms(self) -> Sequence[KnownAlarm]:
        """Those that nobody has acknowledged, oldest first."""
        ...


class LedgerCopies(Protocol):
    """The whole ledger, out and in. All raise LedgerError."""

    async def read(self) -> LedgerCopy:
        """Everything, at one moment."""
        ...

    async def begin(self, token: str) -> bool:
        """Mark the ledger as half restored and clear what a restore before left.

        False where it has events or customers that no restore put there. Until ``finish`` nothing
        else reads or writes this ledger.
        """
        ...

    async def put(self, token: str, rows: Sequence[DumpRow]) -> None:
        """Add these, while it is this restore's turn."""
        ...

    async def finish(self, token: str, counts: Mapping[str, int]) -> bool:
        """Take the mark away; False where another restore began or rows are not as counted."""
        ...
