"""What a live transaction buys: the lowest plan that is paid by the month."""

from __future__ import annotations

from shimmy_ops.domain.contracts import Offer
from shimmy_ops.domain.transaction.receipt import Receipt
from shimmy_ops.domain.transaction.sightings import Terms
from shimmy_ops.errors import ContractError


def choose_terms(offer: Offer, *, livemode: bool) -> Terms:
    """Of a new transaction. Raises ContractError where nothing is sold by the month."""
    monthly = [plan for plan in offer.plans if plan.monthly]
    if not monthly:
        raise ContractError("nothing-monthly", "The catalog has no plan that is paid by the month.")
    plan = min(monthly, key=lambda one: one.unit_amount)
    return Terms(plan.id, plan.unit_amount, offer.currency, plan.entitlements, livemode)


def kept_terms(receipt: Receipt, offer: Offer) -> Terms:
    """Of a transaction that is open: what it began with, whatever the catalog says by now."""
    entitlements = [plan.entitlements for plan in offer.plans if plan.id == receipt.plan]
    return Terms(
        receipt.plan,
        receipt.amount,
        receipt.currency,
        entitlements[0] if entitlements else (),
        receipt.mode == "live",
    )
