"""What Stripe and Keygen have, reduced to what figures need. Money in minor units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

Json: TypeAlias = Mapping[str, Any]
Gone = Literal["no", "partly", "wholly"]

_MONTHS: Mapping[str, float] = {"day": 12 / 365, "week": 12 * 7 / 365, "month": 1, "year": 12}
# Nothing was sold: the first payment is still awaited, or never came.
NEVER_BEGAN = ("incomplete", "incomplete_expired")


@dataclass(frozen=True, slots=True)
class Subscription:
    """``monthly`` is what a month of it costs; ``paid`` whether its last invoice is.

    ``gone`` says what became of the money of that invoice: refunded or in dispute.
    """

    id: str
    customer: str
    plan: str
    status: str
    currency: str
    monthly: int
    created: datetime
    ended: datetime | None
    paid: bool
    gone: Gone = "no"


@dataclass(frozen=True, slots=True)
class Sale:
    """Something that was sold once and paid."""

    id: str
    customer: str
    plan: str
    currency: str
    amount: int
    created: datetime
    gone: Gone = "no"


@dataclass(frozen=True, slots=True)
class Loss:
    """A refund or a dispute."""

    id: str
    currency: str
    amount: int
    status: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Owed:
    """An invoice that is open; ``attempted`` if charging it failed at least once."""

    id: str
    attempted: bool
    created: datetime


@dataclass(frozen=True, slots=True)
class Money:
    """All that Stripe has of our plans."""

    subscriptions: tuple[Subscription, ...] = ()
    sales: tuple[Sale, ...] = ()
    refunds: tuple[Loss, ...] = ()
    disputes: tuple[Loss, ...] = ()
    owed: tuple[Owed, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldLicence:
    """A licence of our product. ``customer`` is Stripe's, "" where the store did not write one.

    ``given`` is true where its metadata says ``complimentary``.
    """

    id: str
    customer: str
    plan: str
    usable: bool
    given: bool = False


@dataclass(frozen=True, slots=True)
class StripeLists:
    """Stripe's objects as plain JSON. Invoices of subscriptions come expanded with payments."""

    subscriptions: Sequence[Json] = ()
    sessions: Sequence[Json] = ()
    charges: Sequence[Json] = ()
    refunds: Sequence[Json] = ()
    disputes: Sequence[Json] = ()
    open_invoices: Sequence[Json] = ()


def read_money(lists: StripeLists, plans: Iterable[str]) -> Money:
    """Raises KeyError, TypeError or ValueError for objects of another shape than Stripe's."""
    known = tuple(plans)
    became = _became(lists.charges, lists.disputes)
    subscriptions = (_subscription(one, known, became) for one in lists.subscriptions)
    sales = (_sale(one, known, became) for one in lists.sessions)
    return Money(
        tuple(one for one in subscriptions if one is not None),
        tuple(one for one in sales if one is not None),
        tuple(_loss(one) for one in lists.refunds),
        tuple(_loss(one) for one in lists.disputes),
        tuple(
            Owed(one["id"], bool(one.get("attempted")), _moment(one["created"]))
            for one in lists.open_invoices
        ),
    )


def _subscription(
    one: Json, plans: Sequence[str], became: Mapping[str, Gone]
) -> Subscription | None:
    items = [(plan, item) for item in one["items"]["data"] if (plan := _plan(item["price"], plans))]
    if not items:
        return None
    ended = one.get("ended_at")
    invoice = one.get("latest_invoice") or {}
    expanded = invoice if isinstance(invoice, Mapping) else {}
    return Subscription(
        one["id"],
        _id(one["customer"]),
        items[0][0],
        one["status"],
        items[0][1]["price"]["currency"],
        sum(_monthly(item) for _, item in items),
        _moment(one["created"]),
        None if ended is None else _moment(ended),
        expanded.get("status") == "paid",
        _worst(became.get(intent, "no") for intent in _intents(expanded)),
    )


def _monthly(item: Json) -> int:
    """A month of one item, whatever period it is billed by."""
    price = item["price"]
    recurring = price.get("recurring") or {}
    interval = _MONTHS[recurring.get("interval", "month")] * recurring.get("interval_count", 1)
    cost = int(price.get("unit_amount") or 0) * int(item.get("quantity", 1))
    return round(cost / float(interval))


def _plan(price: Json, plans: Sequence[str]) -> str:
    """A superseded price has lost its lookup key; its product has the plan's id."""
    names = (
        price.get("lookup_key"),
        (price.get("metadata") or {}).get("plan"),
        _id(price.get("product")),
    )
    return next((str(one) for one in names if one in plans), "")


def _intents(invoice: Json) -> list[str]:
    payments = (invoice.get("payments") or {}).get("data") or []
    return [_id(one["payment"].get("payment_intent")) for one in payments]


def _sale(one: Json, plans: Sequence[str], became: Mapping[str, Gone]) -> Sale | None:
    plan = (one.get("metadata") or {}).get("plan")
    paid = one["payment_status"] in ("paid", "no_payment_required")
    if one["mode"] != "payment" or not paid or plan not in plans:
        return None
    return Sale(
        one["id"],
        _id(one["customer"]),
        str(plan),
        one["currency"],
        one["amount_total"] or 0,
        _moment(one["created"]),
        became.get(_id(one.get("payment_intent")), "no"),
    )


def _became(charges: Sequence[Json], disputes: Sequence[Json]) -> dict[str, Gone]:
    """By payment: what went back of it."""
    found: dict[str, Gone] = {}
    for charge in charges:
        if charge["refunded"] and charge["amount_refunded"]:
            found[_id(charge["payment_intent"])] = "wholly"
        elif charge["amount_refunded"]:
            found.setdefault(_id(charge["payment_intent"]), "partly")
    for dispute in disputes:
        if is_contested(dispute["status"]):
            found[_id(dispute["payment_intent"])] = "wholly"
    return found


def is_contested(status: str) -> bool:
    """Whether a dispute holds the money back or has taken it; inquiries do not."""
    return not status.startswith("warning_") and status not in ("won", "prevented")


def is_undecided(status: str) -> bool:
    """Whether a dispute asks for an answer."""
    return status not in ("won", "lost", "prevented", "warning_closed")


def _worst(each: Iterable[Gone]) -> Gone:
    order: tuple[Gone, ...] = ("no", "partly", "wholly")
    return max(each, key=order.index, default="no")


def _loss(one: Json) -> Loss:
    created = _moment(one["created"])
    return Loss(one["id"], one["currency"], one["amount"], str(one["status"]), created)


def _id(value: Any) -> str:
    """Of an object, expanded or not; empty for none."""
    found = value.get("id") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) else ""


def _moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
