"""What is true of a ledger, in plain Python, beside the one that is tested."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeAlias

from ledger_places import MINUTE, NOW

from shimmy_store.adapters.ledger_rows import stamp
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.ports.ledger import CustomerRecord, EventState, Lease

OPEN = ("pending", "parked")
Numbered: TypeAlias = tuple[int, Lease]


@dataclass
class Event:
    """As it should lie in the ledger."""

    customer: str
    state: EventState
    again: int = 0
    attempts: int = 0
    received: int = 0
    known_to: int = -1
    body: bool = True


@dataclass
class Message:
    """As it should lie in the outbox."""

    added: int
    state: str = "waiting"
    customer: str = "cus_1"
    again: int = 0
    attempts: int = 0


@dataclass
class Owned:
    """A customer; ``lease`` is the number of the one that holds it."""

    record: CustomerRecord
    lease: int = -1
    until: int = 0


@dataclass
class Truth:
    """All of it; times are minutes."""

    events: dict[str, Event] = field(default_factory=dict)
    messages: dict[str, Message] = field(default_factory=dict)
    customers: dict[str, Owned] = field(default_factory=dict)
    links: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    alarms: dict[Alarm, bool] = field(default_factory=dict)

    def holds(self, lease: Numbered) -> bool:
        return self.customers[lease[1].record.customer].lease == lease[0]

    def free(self, lease: Numbered) -> None:
        owned = self.customers[lease[1].record.customer]
        owned.lease, owned.until = -1, 0

    def overtaken(self, lease: Numbered, minute: int) -> None:
        """Whoever lost it is not known to have written before the one who has it now."""
        _, one = lease
        told = Event(one.record.customer, "pending", minute, received=minute, body=False)
        self.events.setdefault(f"overtaken {one.token.split()[1]}", told)

    def send_again(self, customer: str, minute: int) -> None:
        """What could not be delivered, at the customer's new address."""
        for key, one in self.messages.items():
            if one.customer == customer and one.state == "parked":
                one.state, one.attempts, one.again, one.added = "waiting", 0, 0, minute
                del self.alarms[Alarm("message-parked", key)]

    def wake(self, now: datetime) -> None:
        """Those whose time has come; what waits for longer than anybody may is due now."""
        present = (now - NOW) // MINUTE
        waiting: list[Event | Message] = [*self.events.values(), *self.messages.values()]
        for one in waiting:
            if one.state in ("pending", "waiting") and one.again > present + 2:
                one.again = present
        for customer, owned in self.customers.items():
            at = owned.record.look_again
            if at is not None and at <= now:
                minute = (at - NOW) // MINUTE
                told = Event(customer, "pending", minute, received=minute, body=False)
                event = self.events.setdefault(f"look {customer} {stamp(at)}", told)
                event.state, event.again = "pending", minute
                event.attempts, event.known_to = 0, -1
                owned.record = replace(owned.record, look_again=None)

    def retry(self, name: str | None, minute: int) -> int:
        """How many were parked."""
        count = 0
        for key, event in self.events.items():
            if event.state == "parked" and name in (None, key):
                event.state, event.attempts = "pending", 0
                event.again = event.received = minute
                del self.alarms[Alarm("event-parked", key)]
                count += 1
        for key, message in self.messages.items():
            if message.state == "parked" and name in (None, key):
                message.state, message.attempts = "waiting", 0
                message.again = message.added = minute
                del self.alarms[Alarm("message-parked", key)]
                count += 1
        return count
