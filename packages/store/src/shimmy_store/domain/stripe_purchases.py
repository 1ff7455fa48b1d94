"""Stripe's objects of one customer, reduced to what was bought.

The objects come as plain JSON, fetched now; nothing of an event gets here. Months are those of paid
invoices' lines, since a subscription's current month has begun before it is paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

from shimmy_store.domain.catalog import PLAN_IDS, PlanId, rank
from shimmy_store.domain.purchases import (
    DisputeState,
    Payment,
    PaymentStatus,
    Purchases,
    Reversal,
    Subscription,
)

Json: TypeAlias = Mapping[str, Any]

_UNPAID = ("open", "uncollectible", "void")
# The worst of several disputes decides.
_DISPUTES: tuple[DisputeState, ...] = ("none", "inquiry", "won", "lost", "open")


@dataclass(frozen=True, slots=True)
class StripeObjects:
    """Everything of one customer; ``invoices`` of any status, with all lines and payments.

    ``sessions`` are completed checkouts.
    """

    customer: str
    subscriptions: Sequence[Json]
    invoices: Sequence[Json]
    payment_intents: Sequence[Json]
    charges: Sequence[Json]
    disputes: Sequence[Json]
    sessions: Sequence[Json] = ()


def read_purchases(objects: StripeObjects) -> Purchases:
    """Raises KeyError, TypeError or ValueError for objects of another shape than Stripe's."""
    subscriptions = (_subscription(one, objects) for one in objects.subscriptions)
    payments = (_payment(one, objects) for one in objects.payment_intents)
    gifts = (_gift(one) for one in objects.sessions)
    return Purchases(
        objects.customer,
        tuple(one for one in subscriptions if one is not None),
        tuple(one for one in (*payments, *gifts) if one is not None),
    )


def _subscription(one: Json, objects: StripeObjects) -> Subscription | None:
    """None for a subscription to nothing that is a plan of ours."""
    plans = [(plan, item) for item in one["items"]["data"] if (plan := plan_of(item["price"]))]
    if not plans:
        return None
    plan, item = max(plans, key=lambda each: rank(each[0]))
    invoices = [each for each in objects.invoices if _is_for(each, one["id"])]
    paid = [each for each in invoices if each["status"] == "paid"]
    month = _latest_month(paid, item)
    owed = _unpaid_change(invoices)
    return Subscription(
        id=one["id"],
        plan=_plan_given(plan, paid),
        status=one["status"],
        created=_moment(one["created"]),
        paid_from=None if month is None else month[0],
        paid_through=None if month is None else month[1],
        ends=_end(one, item),
        reversal=_reversal(paid, item, month, objects),
        owed=owed,
        several=len(plans) > 1,
    )


def _plan_given(plan: PlanId, paid: Sequence[Json]) -> PlanId:
    """The subscription's own, but nothing better than what was paid for last.

    A better plan may stand in it unpaid: its invoice is open or was voided, or Stripe bills it only
    with the next month.
    """
    lines = _plan_lines(paid)
    last = max(lines, key=lambda each: each[:2])[2] if lines else plan
    return min(plan, last, key=rank)


def _plan_lines(paid: Sequence[Json]) -> list[tuple[int, int, PlanId]]:
    """What was paid for: when, up to when, and which plan; a line's product has the plan's id."""
    return [
        (invoice["created"], line["period"]["end"], plan)
        for invoice in paid
        for line in invoice["lines"]["data"]
        # Credits are no purchases; a month that cost nothing is one.
        if line["amount"] >= 0 and (plan := _plan_of_line(line))
    ]


def _unpaid_change(invoices: Sequence[Json]) -> str:
    """The invoice of a change of plan that nobody has paid, until a later one was paid."""
    later = max(
        (one["created"] for one in invoices if one["status"] == "paid" and _plan_lines([one])),
        default=0,
    )
    for one in invoices:
        changes = one["billing_reason"] == "subscription_update" and one["status"] in _UNPAID
        if changes and one["created"] >= later:
            return str(one["id"])
    return ""


def _latest_month(paid: Sequence[Json], item: Json) -> tuple[datetime, datetime] | None:
    """The month paid for last, whatever made Stripe bill it: a start, a renewal, a resumption.

    Prorations and what was added by hand are no months.
    """
    periods = [
        (line["period"]["end"], line["period"]["start"])
        for invoice in paid
        for line in invoice["lines"]["data"]
        if _is_month(line, item)
    ]
    if not periods:
        return None
    end, start = max(periods)
    return _moment(start), _moment(end)


def _is_month(line: Json, item: Json) -> bool:
    details = (line["parent"] or {}).get("subscription_item_details")
    if not details or details["proration"]:
        return False
    return details["subscription_item"] == item["id"] or _plan_of_line(line) is not None


def _plan_of_line(line: Json) -> PlanId | None:
    details = (line.get("pricing") or {}).get("price_details") or {}
    return _plan(_id(details.get("product")))


def _reversal(
    paid: Sequence[Json],
    item: Json,
    month: tuple[datetime, datetime] | None,
    objects: StripeObjects,
) -> Reversal:
    """Refunds count by what was paid for the month, upgrades in it too; disputes of all months."""
    of_month = [each for each in paid if month is not None and _touches(each, month, item)]
    intents = [intent for each in of_month for intent in _intents_of(each)]
    of_all = [intent for each in paid for intent in _intents_of(each)]
    return _what_became(intents, of_all, objects)


def _touches(invoice: Json, month: tuple[datetime, datetime], item: Json) -> bool:
    """Whether an invoice charged for something in this month, but not for another month."""
    own = _latest_month([invoice], item)
    if own is not None and own != month:
        return False
    start, end = month
    return any(
        _moment(line["period"]["end"]) > start and _moment(line["period"]["start"]) < end
        for line in invoice["lines"]["data"]
    )


def _payment(one: Json, objects: StripeObjects) -> Payment | None:
    """None for a payment that is not of a plan bought once; checkout writes the plan on it."""
    plan = _plan(one["metadata"].get("plan"))
    if plan is None:
        return None
    reversal = _what_became([one["id"]], [one["id"]], objects)
    return Payment(one["id"], plan, _payment_status(one), _moment(one["created"]), reversal)


def _gift(session: Json) -> Payment | None:
    """A plan bought once for which nothing was due; no payment tells of it."""
    free = (session["mode"], session["payment_status"]) == ("payment", "no_payment_required")
    plan = _plan((session["metadata"] or {}).get("plan"))
    if not free or plan is None:
        return None
    return Payment(session["id"], plan, "paid", _moment(session["created"]))


def _payment_status(one: Json) -> PaymentStatus:
    match one["status"]:
        case "succeeded":
            return "paid"
        case "processing":
            return "processing"
        case _:
            return "failed"


def plan_of(price: Json) -> PlanId | None:
    """A price that was superseded has lost its lookup key to the new one; its product is the same.

    Never the subscription's own metadata: a change of plan in the portal leaves that as it was.
    """
    names = (
        price.get("lookup_key"),
        (price.get("metadata") or {}).get("plan"),
        _id(price["product"]),
    )
    return next((plan for plan in map(_plan, names) if plan is not None), None)


def _plan(name: object) -> PlanId | None:
    return next((one for one in PLAN_IDS if one == name), None)


def _is_for(invoice: Json, subscription: str) -> bool:
    parent = invoice["parent"] or {}
    details = parent.get("subscription_details") or {}
    return _id(details.get("subscription")) == subscription


def _intents_of(invoice: Json) -> Iterator[str]:
    for payment in invoice["payments"]["data"]:
        intent = _id(payment["payment"].get("payment_intent"))
        if payment["status"] == "paid" and intent:
            yield intent


def _what_became(intents: Sequence[str], of_all: Sequence[str], objects: StripeObjects) -> Reversal:
    """``intents`` paid for what is used now, ``of_all`` for it and for what came before."""
    charges = [one for one in objects.charges if one["paid"]]
    now = [one for one in charges if _id(one["payment_intent"]) in intents]
    ever = [one for one in charges if _id(one["payment_intent"]) in of_all]
    gone = bool(now) and all(one["refunded"] for one in now)
    partial = tuple(
        f"{one['id']}/{one['amount_refunded']}"
        for one in ever
        if one["amount_refunded"] and not (gone and one in now)
    )
    found = [
        (_dispute_state(one["status"]), str(one["id"]))
        for one in objects.disputes
        if _id(one["payment_intent"]) in of_all
    ]
    return Reversal(
        "fully" if gone else "partly" if any(one["amount_refunded"] for one in now) else "nothing",
        max((state for state, _ in found), key=_DISPUTES.index, default="none"),
        partial,
        tuple(sorted(name for state, name in found if state in ("open", "lost"))),
    )


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
