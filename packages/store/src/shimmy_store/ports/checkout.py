"""Stripe, as far as customers go there: to pay, and to look after what they pay for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

from shimmy_store.domain.catalog import Plan, PlanId

SessionState: TypeAlias = Literal["open", "expired", "paid", "processing"]


@dataclass(frozen=True, slots=True)
class Price:
    """What a plan costs at Stripe; ``interval`` is "month", "once", or what no plan is."""

    id: str
    unit_amount: int
    currency: str
    interval: str
    livemode: bool


@dataclass(frozen=True, slots=True)
class Order:
    """A purchase to begin; ``customer`` is empty for somebody new.

    ``attempt`` is the same for a form sent twice: it begins one purchase. ``browser`` is a digest
    of what the buyer's browser holds.
    """

    plan: Plan
    price: str
    customer: str
    attempt: str
    success_url: str
    cancel_url: str
    browser: str = ""


@dataclass(frozen=True, slots=True)
class CheckoutSession:
    """A purchase that was begun, by which ``browser``; ``paid_at`` None until it is paid."""

    id: str
    state: SessionState
    customer: str
    livemode: bool
    paid_at: datetime | None
    browser: str = ""


@dataclass(frozen=True, slots=True)
class PlanChange:
    """The change of plan that a customer is to confirm in the portal."""

    subscription: str
    price: str


class Checkout(Protocol):
    """Every method raises PaymentsError."""

    async def price(self, plan: PlanId) -> Price | None:
        """The price on sale for a plan; None where there is none."""
        ...

    async def begin(self, order: Order) -> str:
        """The address of the page to pay on."""
        ...

    async def find(self, session: str) -> CheckoutSession | None:
        """A purchase that was begun; None for no such."""
        ...

    async def open_portal(
        self, customer: str, return_url: str, change: PlanChange | None = None
    ) -> str:
        """The address of the customer's portal, or of one change in it."""
        ...

    async def reach(self) -> None:
        """Make sure that Stripe answers us."""
        ...
