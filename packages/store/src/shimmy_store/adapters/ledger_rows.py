"""How the ledger's values stand in its rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from shimmy_store.domain.notices import Notice
from shimmy_store.ports.database import Row
from shimmy_store.ports.ledger import CustomerRecord, Link, Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

RECORD = "customer, origin, email, plan, changes, merged_into, given_up, settled"
LINK = "id, kind, customers, browser, expires, used"


def stamp(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(stamped: int) -> datetime:
    """The time of a stamp, in UTC."""
    return _EPOCH + stamped * _MICROSECOND


def maybe(stamped: int | None) -> datetime | None:
    """The time of a stamp that may be absent."""
    return None if stamped is None else moment(stamped)


def joined(names: Sequence[str]) -> str:
    """Ids in one column; Stripe's hold no space."""
    return " ".join(names)


def record_of(row: Row) -> CustomerRecord:
    """From the columns ``RECORD``."""
    customer, origin, email, plan, changes, merged_into, given_up, settled = row
    return CustomerRecord(
        customer, origin, email, plan, changes, merged_into, tuple(given_up.split()), maybe(settled)
    )


def message_of(row: Row) -> Message:
    """From key, kind, facts, customer and attempts."""
    key, kind, facts, customer, attempts = row
    return Message(Notice(key, kind, json.loads(facts)), customer, attempts)


def link_of(row: Row) -> Link:
    """From the columns ``LINK``."""
    identifier, kind, customers, browser, expires, used = row
    return Link(identifier, kind, tuple(customers.split()), browser, moment(expires), maybe(used))
