"""Stripe's objects of one customer, reduced to what was bought.

The objects come as plain JSON, fetched now; nothing of an event gets here. Months are those of paid
invoices, since a subscription's current month has begun before it is paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from shimmy_store.domain.catalog import PLAN_IDS, PlanId
from shimmy_store.domain.purchases import (
    DisputeState,
    Payment,
    PaymentStatus,
    Purchases,
    Refunded,
    Reversal,
    Subscription,
)

Json: TypeAlias = Mapping[str, Any]

_MONTHLY = frozenset({"subscription_create", "subscription_cycle"})
# The worst of several disputes decides.
_DISPUTES: tuple[DisputeState, ...] = ("none", "inquiry", "won", "lost", "open")


@dataclass(frozen=True, slots=True)
class StripeObjects:
    """Everything of one customer; ``invoices`` with their payments expanded."""

    customer: str
    subscriptions: Sequence[Json]
    invoices: Sequence[Json]
    payment_intents: Sequence[Json]
    charges: Sequence[Json]
    disputes: Sequence[Json]


def read_purchases(objects: StripeObjects) -> Purchases:
    """Raises KeyError, TypeError or ValueError for objects of another shape than Stripe's."""
    subscriptions = (_subscription(one, objects) for one in objects.subscriptions)
    payments = (_payment(one, objects) for one in objects.payment_intents)
    return Purchases(
        objects.customer,
        tuple(one for one in subscriptions if one is not None),
        tuple(one for one in payments if one is not None),
    )


def _subscription(one: Json, objects: StripeObjects) -> Subscription | None:
    """None for a subscription to something that is no plan of ours."""
    (item, *_) = one["items"]["data"]
    plan = _plan_of_price(item["price"])
    if plan is None:
        return None
    paid = [invoice for invoice in objects.invoices if _pays_for(invoice, one["id"])]
    monthly = [invoice for invoice in paid if invoice["billing_reason"] in _MONTHLY]
    latest = max(monthly, key=lambda each: (_month(each)[1], each["id"]), default=None)
    start, end = (None, None) if latest is None else _month(latest)
    of_month = [] if latest is None else list(_intents_of(latest))
    of_all = [intent for invoice in paid for intent in _intents_of(invoice)]
    return Subscription(
        id=one["id"],
        plan=plan,
        status=one["status"],
        created=_moment(one["created"]),
        paid_from=start,
        paid_through=end,
        ends=_end(one, item),
        reversal=Reversal(_refunded(of_month, objects), _dispute(of_all, objects)),
    )


def _payment(one: Json, objects: StripeObjects) -> Payment | None:
    """None for a payment that is not of a plan bought once; checkout writes the plan on it."""
    plan = _plan(one["metadata"].get("plan"))
    if plan is None:
        return None
    reversal = Reversal(_refunded([one["id"]], objects), _dispute([one["id"]], objects))
    return Payment(one["id"], plan, _payment_status(one), _moment(one["created"]), reversal)


def _payment_status(one: Json) -> PaymentStatus:
    match one["status"]:
        case "succeeded":
            return "paid"
        case "processing":
            return "processing"
        case _:
            return "failed"


def _plan_of_price(price: Json) -> PlanId | None:
    """A price that was superseded has lost its lookup key to the new one; its product is the same.

    Never the subscription's own metadata: a change of plan in the portal leaves that as it was.
    """
    names = (price.get("lookup_key"), price["metadata"].get("plan"), _id(price["product"]))
    return next((plan for plan in map(_plan, names) if plan is not None), None)


def _plan(name: object) -> PlanId | None:
    return next((one for one in PLAN_IDS if one == name), None)


def _pays_for(invoice: Json, subscription: str) -> bool:
    parent = invoice["parent"] or {}
    details = parent.get("subscription_details") or {}
    return invoice["status"] == "paid" and _id(details.get("subscription")) == subscription


def _month(invoice: Json) -> tuple[datetime, datetime]:
    """The month that an invoice charges for; corrections of an earlier one stand beside it."""
    periods = [line["period"] for line in invoice["lines"]["data"] if not _is_proration(line)]
    start = min(period["start"] for period in periods)
    return _moment(start), _moment(max(period["end"] for period in periods))


def _is_proration(line: Json) -> bool:
    details = (line["parent"] or {}).get("subscription_item_details") or {}
    return details.get("proration") is True


def _intents_of(invoice: Json) -> Iterator[str]:
    for payment in invoice["payments"]["data"]:
        intent = _id(payment["payment"].get("payment_intent"))
        if payment["status"] == "paid" and intent:
            yield intent


def _refunded(intents: Sequence[str], objects: StripeObjects) -> Refunded:
    charges = [one for one in objects.charges if _id(one["payment_intent"]) in intents]
    if charges and all(one["refunded"] for one in charges if one["paid"]):
        return "fully"
    return "partly" if any(one["amount_refunded"] for one in charges) else "nothing"


def _dispute(intents: Sequence[str], objects: StripeObjects) -> DisputeState:
    found = [
        _dispute_state(one["status"])
        for one in objects.disputes
        if _id(one["payment_intent"]) in intents
    ]
    return max(found, key=_DISPUTES.index, default="none")


def _dispute_state(status: str) -> DisputeState:
    if status.startswith("warning_"):
        return "inquiry"
    # "prevented" was settled before it began; what is not decided yet is open.
    return {"won": "won", "lost": "lost", "prevented": "inquiry"}.get(status, "open")  # type: ignore[return-value]


def _end(one: Json, item: Json) -> datetime | None:
    if one["cancel_at"] is not None:
        return _moment(one["cancel_at"])
    return _moment(item["current_period_end"]) if one["cancel_at_period_end"] else None


def _id(value: Any) -> str:
    """Of an object, expanded or not; empty for none."""
    found = value.get("id") if isinstance(value, Mapping) else value
    return found if isinstance(found, str) else ""


def _moment(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
