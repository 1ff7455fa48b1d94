"""How the ledger's values stand in its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from shimmy_store.domain.notices import Notice
from shimmy_store.ports.database import Row
from shimmy_store.ports.ledger import CustomerRecord, Link, Message, PendingEvent

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

RECORD = (
    "customer, origin, email, plan, changes, merged_into, given_up, settled, look_again, erased"
)
LINK = "id, kind, customers, browser, expires, used, mailbox"
MESSAGE = "key, kind, facts, customer, added, attempts"
EVENT = "id, type, customer, received, attempts, payment"


def stamp(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(stamped: int) -> datetime:
    """The time of a stamp, in UTC."""
    return _EPOCH + stamped * _MICROSECOND


def maybe(stamped: int | None) -> datetime | None:
    """The time of a stamp that may be absent."""
    return None if stamped is None else moment(stamped)


def maybe_stamp(moment: datetime | None) -> int | None:
    """The stamp of a time that may be absent."""
    return None if moment is None else stamp(moment)


def joined(names: Sequence[str]) -> str:
    """Ids in one column; Stripe's hold no space."""
    return " ".join(names)


def record_of(row: Row) -> CustomerRecord:
    """From the columns ``RECORD``."""
    customer, origin, email, plan, changes, merged_into, given_up, settled, again, erased = row
    return CustomerRecord(
        customer,
        origin,
        email,
        plan,
        changes,
        merged_into,
        tuple(given_up.split()),
        maybe(settled),
        maybe(again),
        maybe(erased),
    )


def event_of(row: Row) -> PendingEvent:
    """From the columns ``EVENT``."""
    identifier, kind, customer, received, attempts, payment = row
    return PendingEvent(identifier, kind, customer, moment(received), attempts, payment)


def message_of(row: Row) -> Message:
    """From the columns ``MESSAGE``."""
    key, kind, facts, customer, added, attempts = row
    return Message(Notice(key, kind, json.loads(facts)), customer, moment(added), attempts)


def link_of(row: Row) -> Link:
    """From the columns ``LINK``."""
    identifier, kind, customers, browser, expires, used, mailbox = row
    return Link(
        identifier,
        kind,
        tuple(customers.split()),
        browser,
        moment(expires),
        maybe(used),
        mailbox,
    )
