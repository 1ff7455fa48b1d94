"""May this be sold, and where does this buyer go?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from shimmy_store.domain.catalog import Plan, PlanId, rank
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
    def interval(self) -> str:
        """How often it is paid: "month", "once", or something that no plan is."""

    @property
    def livemode(self) -> bool:
        """Whether it takes real money."""


def check_price(plan: Plan, currency: str, price: Priced | None, *, livemode: bool) -> PriceVerdict:
    """Nobody pays another price than the one they were shown, or in the other mode."""
    if price is None:
        return "missing"
    if price.livemode != livemode:
        return "wrong-mode"
    asked = (price.unit_amount, price.currency, price.interval)
    same = asked == (plan.unit_amount, currency, plan.interval)
    return "fine" if same else "differs"


@dataclass(frozen=True, slots=True)
class ToPortal:
    """The subscription to change there; ``confirms``: the change is prepared, to be confirmed."""

    subscription: str
    confirms: bool


def decide_way(plan: PlanId, purchases: Purchases) -> ToPortal | Literal["checkout", "licence"]:
    """A customer with a running subscription gets no second one, and nobody buys Lifetime twice.

    Nor is anything sold that a plan bought once is better than. A subscription that is about to
    end, or owes money, is put in order in the portal first.
    """
    # One that the bank has not confirmed yet may still become paid.
    owned = [one for one in purchases.payments if one.status != "failed"]
    kept = [one.plan for one in owned if not one.reversal.takes_access]
    if any(rank(one) >= rank(plan) for one in kept):
        return "licence"
    running = [one for one in purchases.subscriptions if one.status in COLLECTING]
    if not running or plan == "lifetime":
        return "checkout"
    newest = max(running, key=lambda one: (one.created, one.id))
    sound = newest.status in ("active", "trialing") and newest.ends is None
    return ToPortal(newest.id, confirms=sound)
