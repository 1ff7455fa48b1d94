"""May this be sold, and where does this buyer go?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from shimmy_store.domain.catalog import Plan, PlanId
from shimmy_store.domain.fulfilment import COLLECTING
from shimmy_store.domain.purchases import Purchases

PriceVerdict: TypeAlias = Literal["fine", "missing", "wrong-mode", "differs"]


class Priced(Protocol):
    """A price as Stripe has it."""

    @property
    def unit_amount(self) -> int:
        """In the currency's smallest unit."""

    @property
    def currency(self) -> str:
        """Three letters, lower case."""

    @property
    def livemode(self) -> bool:
        """Whether it takes real money."""


def check_price(plan: Plan, currency: str, price: Priced | None, *, livemode: bool) -> PriceVerdict:
    """Nobody pays another price than the one they were shown, or in the other mode."""
    if price is None:
        return "missing"
    if price.livemode != livemode:
        return "wrong-mode"
    same = (price.unit_amount, price.currency) == (plan.unit_amount, currency)
    return "fine" if same else "differs"


@dataclass(frozen=True, slots=True)
class ToPortal:
    """The subscription to change there; ``confirms``: the change is prepared, to be confirmed."""

    subscription: str
    confirms: bool


def decide_way(plan: PlanId, purchases: Purchases) -> ToPortal | Literal["checkout", "licence"]:
    """A customer with a running subscription gets no second one, and nobody buys Lifetime twice.

    One that is about to end, or owes money, is put in order in the portal first.
    """
    if plan == "lifetime":
        # One that the bank has not confirmed yet may still become paid.
        owned = (one for one in purchases.payments if one.plan == plan and one.status != "failed")
        return "licence" if any(not one.reversal.takes_access for one in owned) else "checkout"
    running = [one for one in purchases.subscriptions if one.status in COLLECTING]
    if not running:
        return "checkout"
    newest = max(running, key=lambda one: (one.created, one.id))
    sound = newest.status in ("active", "trialing") and newest.ends is None
    return ToPortal(newest.id, confirms=sound)
