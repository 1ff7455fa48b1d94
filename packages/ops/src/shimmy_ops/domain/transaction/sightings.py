"""What was seen at Stripe, at Keygen and at the store, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shimmy_ops.errors import TransactionError


@dataclass(frozen=True, slots=True)
class Terms:
    """What is bought: a plan for an amount, and in which of Stripe's modes."""

    plan: str
    amount: int
    currency: str
    entitlements: tuple[str, ...]
    livemode: bool


@dataclass(frozen=True, slots=True)
class SeenSession:
    """A checkout session; ``lookup_keys`` are those of its lines' prices."""

    id: str
    status: str
    paid: bool
    mode: str
    amount: int | None
    currency: str
    livemode: bool
    created: datetime
    lookup_keys: tuple[str | None, ...] = ()
    customer: str = ""
    subscription: str = ""
    url: str = field(repr=False, default="")
    email: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class SeenCharge:
    """Money that came; ``returned`` is what went back of it."""

    id: str
    amount: int
    returned: int
    currency: str
    paid: bool
    created: datetime


@dataclass(frozen=True, slots=True)
class SeenRefund:
    """``status``: pending, requires_action, succeeded, failed, canceled."""

    id: str
    status: str
    amount: int


@dataclass(frozen=True, slots=True)
class SeenSubscription:
    """``until`` is the end of the period that was paid."""

    id: str
    status: str
    until: datetime


@dataclass(frozen=True, slots=True)
class SeenEvent:
    """An event at Stripe; ``pending`` deliveries of it were not answered well yet."""

    id: str
    created: datetime
    pending: int


@dataclass(frozen=True, slots=True)
class Remains:
    """What Stripe still has of a customer; ``balance`` is what we owe (below 0) or are owed."""

    subscriptions: int
    invoices: int
    balance: int


@dataclass(frozen=True, slots=True)
class SeenLicence:
    """A licence at Keygen; ``policy_plan`` is the plan of the policy it stands under."""

    id: str
    plan: str
    policy_plan: str
    source: str
    created: datetime
    expiry: datetime | None
    month_end: datetime | None
    suspended: bool
    entitlements: tuple[str, ...]
    machines: tuple[str, ...]
    key: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class HeardEvent:
    """An event as the store's ledger has it."""

    id: str
    state: str
    received: datetime
    settled: datetime | None


@dataclass(frozen=True, slots=True)
class QueuedMessage:
    """A mail of the store's; ``sent`` None where it was not."""

    kind: str
    state: str
    sent: datetime | None


@dataclass(frozen=True, slots=True)
class OpenAlarm:
    """An alarm about this customer that nobody has looked at."""

    code: str
    subject: str


@dataclass(frozen=True, slots=True)
class HeardCustomer:
    """One customer as the store's ledger has them."""

    origin: str
    events: tuple[HeardEvent, ...]
    messages: tuple[QueuedMessage, ...]
    alarms: tuple[OpenAlarm, ...]


def parse_heard(documents: Any, customer: str) -> HeardCustomer | None:
    """The customer of this id among what the desk found; None where the ledger has nothing.

    Raises TransactionError for another shape.
    """
    try:
        for one in documents:
            if one["customer"] == customer:
                return _heard(one)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise TransactionError(
            "customer-malformed",
            "What the store tells of the customer is of another shape than expected.",
            hint="Are store and tools of the same release?",
        ) from error
    return None


def _heard(document: Mapping[str, Any]) -> HeardCustomer:
    return HeardCustomer(
        str(document["origin"] or ""),
        tuple(
            HeardEvent(one["id"], one["state"], _time(one["received"]), _maybe(one["settled"]))
            for one in document["events"]
        ),
        tuple(
            QueuedMessage(one["kind"], one["state"], _maybe(one["sent"]))
            for one in document["messages"]
        ),
        tuple(
            OpenAlarm(one["code"], one["subject"])
            for one in document["alarms"]
            if one["acknowledged"] is None
        ),
    )


def _time(value: str) -> datetime:
    return datetime.fromisoformat(value)


def _maybe(value: str | None) -> datetime | None:
    return None if value is None else _time(value)
