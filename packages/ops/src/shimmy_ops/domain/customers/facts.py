"""What is known of one customer, from the documents of the store, Stripe and Keygen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias

from shimmy_ops.domain.customers.key_masks import mask_key

Document: TypeAlias = Mapping[str, Any]
ENDED = frozenset({"canceled", "incomplete_expired"})
_PAYING = frozenset({"active", "trialing"})
_FINGERPRINT, _PLATFORM = 8, 60


@dataclass(frozen=True, slots=True)
class BillingRecord:
    """Stripe's objects of one customer, newest first; ``customer`` says so where it was deleted."""

    customer: Document
    subscriptions: tuple[Document, ...] = ()
    invoices: tuple[Document, ...] = ()
    charges: tuple[Document, ...] = ()
    refunds: tuple[Document, ...] = ()
    disputes: tuple[Document, ...] = ()
    sessions: tuple[Document, ...] = ()
    payment_intents: tuple[Document, ...] = ()
    payment_methods: tuple[Document, ...] = ()

    @property
    def deleted(self) -> bool:
        """Whether Stripe has nothing of the person any more but what was billed."""
        return bool(self.customer.get("deleted"))


@dataclass(frozen=True, slots=True)
class HeldLicence:
    """A licence as Keygen shows it, flat (attributes, ``id``, ``policy``), with its machines."""

    licence: Document
    machines: tuple[Document, ...] = ()

    @property
    def id(self) -> str:
        """Keygen's."""
        return str(self.licence["id"])

    @property
    def customer(self) -> str:
        """Stripe's id of whom it is; empty where nobody is named."""
        return str((self.licence.get("metadata") or {}).get("customer") or "")

    def gives_access(self, now: datetime) -> bool:
        """Whether an activated machine may go on."""
        expiry = self.licence.get("expiry")
        return not self.licence["suspended"] and (expiry is None or moment(expiry) > now)


@dataclass(frozen=True, slots=True)
class LicenceFacts:
    """A licence without its key; ``machines`` are platform and the beginning of a fingerprint."""

    id: str
    key: str
    plan: str
    state: str
    suspended: bool
    access: bool
    expiry: str | None
    machines: tuple[str, ...]
    machine_limit: int | None
    pages: int
    page_limit: int | None


@dataclass(frozen=True, slots=True)
class SubscriptionFacts:
    """``period_end`` and ``ends`` are seconds since 1970; ``ends`` None: it goes on."""

    id: str
    status: str
    period_end: int | None
    ends: int | None


@dataclass(frozen=True, slots=True)
class PaymentFacts:
    """A charge; ``amount`` and ``refunded`` in the currency's smallest unit.

    ``once``: for a plan that is bought once, which is written on it.
    """

    id: str
    created: int
    amount: int
    currency: str
    paid: bool
    refunded: int
    disputed: bool
    failure: str
    once: bool = False


@dataclass(frozen=True, slots=True)
class BillingFacts:
    """What Stripe says; where ``deleted``, of what was billed only."""

    deleted: bool
    subscriptions: tuple[SubscriptionFacts, ...] = ()
    payments: tuple[PaymentFacts, ...] = ()
    refunds: tuple[str, ...] = ()
    disputes: tuple[tuple[str, str], ...] = ()
    open_invoices: tuple[str, ...] = ()

    @property
    def pays(self) -> bool:
        """Whether something runs that is paid for, or was bought once and kept."""
        running = any(one.status in _PAYING for one in self.subscriptions)
        return running or any(
            one.once and one.paid and one.refunded < one.amount and not one.disputed
            for one in self.payments
        )


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What the store keeps; ``parked`` are ids and keys with the error of each."""

    plan: str | None
    merged_into: str | None
    erased: str | None
    look_again: str | None
    events: Mapping[str, int] = field(default_factory=dict)
    messages: Mapping[str, int] = field(default_factory=dict)
    parked_events: tuple[tuple[str, str], ...] = ()
    parked_messages: tuple[tuple[str, str], ...] = ()
    alarms: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CustomerFacts:
    """``store`` or ``billing`` None: nothing is known there. ``merged``: whom the store put here.

    ``customer`` is empty for a licence that names nobody.
    """

    customer: str
    addresses: tuple[str, ...]
    store: StoreFacts | None
    billing: BillingFacts | None
    licences: tuple[LicenceFacts, ...]
    merged: tuple[str, ...] = ()


def read_store_facts(record: Document) -> StoreFacts:
    """From what the store's desk lists. Raises LookupError, TypeError for another shape."""
    events, messages = record["events"], record["messages"]
    return StoreFacts(
        record["plan"],
        record["merged_into"] or None,
        record["erased"],
        record["look_again"],
        _counted(one["state"] for one in events),
        _counted(one["state"] for one in messages),
        tuple((one["id"], one["error"] or "") for one in events if one["state"] == "parked"),
        tuple((one["key"], one["error"] or "") for one in messages if one["state"] == "parked"),
        tuple((one["code"], one["subject"]) for one in record["alarms"] if not one["acknowledged"]),
    )


def read_licence_facts(held: HeldLicence, now: datetime) -> LicenceFacts:
    """Raises LookupError, TypeError, ValueError for another shape than Keygen's."""
    one = held.licence
    return LicenceFacts(
        held.id,
        mask_key(str(one["key"])),
        str((one.get("metadata") or {}).get("plan") or ""),
        str(one["status"]),
        bool(one["suspended"]),
        held.gives_access(now),
        one["expiry"],
        tuple(_machine(machine) for machine in held.machines),
        one["maxMachines"],
        int(one["uses"]),
        one["maxUses"],
    )


def read_billing_facts(record: BillingRecord) -> BillingFacts:
    """Raises LookupError, TypeError for another shape than Stripe's."""
    return BillingFacts(
        record.deleted,
        tuple(_subscription(one) for one in record.subscriptions),
        tuple(_payment(one) for one in record.charges),
        tuple(f"{one['id']} {one['status']}" for one in record.refunds),
        tuple((one["id"], one["status"]) for one in record.disputes),
        tuple(one["id"] for one in record.invoices if one["status"] == "open"),
    )


def addresses_of(records: Sequence[Document], billing: BillingRecord | None) -> tuple[str, ...]:
    """Each once, however its letters are written."""
    found = [one.get("email") for one in records]
    found += [billing.customer.get("email")] if billing is not None else []
    return tuple({one.casefold(): one for one in found if one}.values())


def moment(written: str) -> datetime:
    """A time of Keygen's or the store's. Raises ValueError."""
    return datetime.fromisoformat(written).astimezone(UTC)


def _machine(one: Document) -> str:
    """Whoever has the key says both, and may say anything."""
    platform = str(one.get("platform") or "a machine")[:_PLATFORM]
    return f"{shown(platform)} {shown(str(one['fingerprint'])[:_FINGERPRINT])}…"


def shown(text: str) -> str:
    """What a terminal may be given: nothing that moves its cursor or turns its letters around."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def _subscription(one: Document) -> SubscriptionFacts:
    ends = [item["current_period_end"] for item in one["items"]["data"]]
    period_end = max(ends) if ends else None
    stops = one["cancel_at"] or (period_end if one["cancel_at_period_end"] else None)
    return SubscriptionFacts(one["id"], one["status"], period_end, stops)


def _payment(one: Document) -> PaymentFacts:
    return PaymentFacts(
        one["id"],
        one["created"],
        one["amount"],
        one["currency"],
        bool(one["paid"]),
        one["amount_refunded"],
        bool(one["disputed"]),
        one.get("failure_code") or "",
        "plan" in (one.get("metadata") or {}),
    )


def _counted(states: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    return counts
