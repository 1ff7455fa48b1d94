"""What ``contracts/plans.json`` and ``webhook_events.json`` say that provisioning needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shimmy_ops.errors import ContractError


@dataclass(frozen=True, slots=True)
class Plan:
    """``unit_amount`` in the currency's smallest unit; None means unlimited."""

    id: str
    name: str
    unit_amount: int
    monthly: bool
    pages_per_month: int | None
    machines: int | None
    entitlements: tuple[str, ...]
    payment_methods: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """The plans in the order they are shown, and what the store wants to hear of."""

    currency: str
    plans: tuple[Plan, ...]
    events: tuple[str, ...]
    api_version: str


def parse_offer(plans: Any, events: Any) -> Offer:
    """From both files' contents. Raises ContractError for anything of another shape.

    The store checks the catalog more closely before it sells anything.
    """
    try:
        offer = Offer(
            plans["currency"],
            tuple(_plan(one) for one in plans["plans"]),
            tuple(events["events"]),
            events["api_version"],
        )
    except (LookupError, TypeError, ValueError) as error:
        raise ContractError(
            "contracts-invalid",
            f"The contracts of plans and events are of another shape: {error}.",
            hint="Reinstall shimmy-ops.",
        ) from error
    if len({plan.id for plan in offer.plans}) < len(offer.plans) or not offer.plans:
        raise ContractError("contracts-ambiguous", "The catalog names no plan, or one twice.")
    return offer


def _plan(entry: Any) -> Plan:
    if entry["interval"] not in ("month", "once"):
        raise ValueError(f"interval {entry['interval']!r}")
    return Plan(
        entry["id"],
        entry["name"],
        entry["unit_amount"],
        entry["interval"] == "month",
        entry["pages_per_month"],
        entry["machines"],
        tuple(entry["entitlements"]),
        tuple(entry.get("payment_methods", ())),
    )
