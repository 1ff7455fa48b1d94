"""Small stand-ins for Stripe and the licence server, as far as use cases need them.

What is sold, held and asked for lies open; whoever is in ``failing`` meets that error, and in
``crashing`` a mistake of ours.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.catalog import PlanId
from shimmy_store.domain.convergence import (
    ChangePlan,
    Create,
    Describe,
    IssuedLicence,
    Reinstate,
    ResetPages,
    Suspend,
)
from shimmy_store.domain.purchases import Purchases
from shimmy_store.domain.webhook_event import WebhookEvent
from shimmy_store.errors import StoreError
from shimmy_store.ports.checkout import CheckoutSession, Order, PlanChange, Price
from shimmy_store.ports.holdings import Holding
from shimmy_store.use_cases.fulfil_customer import Fulfilment


@dataclass
class Till:
    """Payments: what was bought, by customer."""

    bought: dict[str, Purchases] = field(default_factory=dict)
    failing: dict[str, StoreError] = field(default_factory=dict)
    crashing: dict[str, Exception] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    # Newest first, as Stripe lists them.
    happened: list[WebhookEvent] = field(default_factory=list)
    asked_since: list[datetime] = field(default_factory=list)

    async def fetch(self, customer: str) -> Purchases:
        self.asked.append(customer)
        if customer in self.failing:
            raise self.failing[customer]
        if customer in self.crashing:
            raise self.crashing[customer]
        return self.bought.get(customer, Purchases(customer))

    async def customer_of(self, payment: str) -> str:
        owners = (
            customer
            for customer, bought in self.bought.items()
            if any(one.id == payment for one in bought.payments)
        )
        return next(owners, "")

    async def cancel(self, subscription: str, *, credit: bool) -> None:
        self.cancelled.append(subscription)
        for customer, bought in self.bought.items():
            left = tuple(
                replace(one, status="canceled") if one.id == subscription else one
                for one in bought.subscriptions
            )
            self.bought[customer] = replace(bought, subscriptions=left)

    async def events(self, since: datetime) -> AsyncGenerator[WebhookEvent, None]:
        self.asked_since.append(since)
        for one in [one for one in self.happened if one.created >= since]:
            yield one

    async def customers(self, after: str = "") -> AsyncGenerator[str, None]:
        listed = list(self.bought)
        for customer in listed[listed.index(after) + 1 :] if after else listed:
            yield customer


@dataclass
class Cabinet:
    """Licences and holdings, by id."""

    issued: dict[uuid.UUID, IssuedLicence] = field(default_factory=dict)
    shown: list[uuid.UUID] = field(default_factory=list)

    async def find(self, identifier: uuid.UUID) -> IssuedLicence | None:
        return self.issued.get(identifier)

    async def create(self, step: Create) -> Literal["created", "exists"]:
        if step.id in self.issued:
            return "exists"
        key = f"KEY-{len(self.issued)}"
        self.issued[step.id] = IssuedLicence(
            step.id, step.plan, step.expiry, suspended=False, metadata=step.metadata, key=key
        )
        return "created"

    async def change(
        self,
        identifier: uuid.UUID,
        step: ChangePlan | Describe | ResetPages | Suspend | Reinstate,
    ) -> None:
        held = self.issued[identifier]
        match step:
            case ChangePlan(plan):
                held = replace(held, plan=plan)
            case Describe(expiry, metadata):
                held = replace(held, expiry=expiry, metadata=metadata)
            case Suspend() | Reinstate():
                held = replace(held, suspended=isinstance(step, Suspend))
            case ResetPages():
                pass
        self.issued[identifier] = held

    async def show(self, licence: uuid.UUID) -> Holding | None:
        self.shown.append(licence)
        held = self.issued.get(licence)
        return None if held is None else Holding(held, 0, 100, 1)

    async def find_key(self, key: str) -> IssuedLicence | None:
        return next((one for one in self.issued.values() if one.key == key), None)

    async def free_machine(self, licence: uuid.UUID, machine: str) -> bool:
        return False

    async def reach(self) -> None:
        return


@dataclass
class Desk:
    """Checkout: a name that was used stands for the purchase it was used for, as at Stripe."""

    prices: dict[PlanId, Price] = field(default_factory=dict)
    sessions: dict[str, CheckoutSession] = field(default_factory=dict)
    orders: list[Order] = field(default_factory=list)
    portals: list[tuple[str, str, PlanChange | None]] = field(default_factory=list)

    @property
    def begun(self) -> dict[str, Order]:
        """The purchases begun, by their names."""
        return {one.attempt: one for one in self.orders}

    async def price(self, plan: PlanId) -> Price | None:
        return self.prices.get(plan)

    async def begin(self, order: Order) -> str:
        assert self.begun.get(order.attempt, order) == order, "one name for two purchases"
        self.orders.append(order)
        return f"https://pay.example/{order.attempt}"

    async def find(self, session: str) -> CheckoutSession | None:
        return self.sessions.get(session)

    async def open_portal(
        self, customer: str, return_url: str, change: PlanChange | None = None
    ) -> str:
        self.portals.append((customer, return_url, change))
        return f"https://billing.example/{len(self.portals)}"

    async def reach(self) -> None:
        return


@dataclass
class Works:
    """Everything that fulfilment works with, on a real ledger."""

    ledger: SqlLedger
    now: datetime
    till: Till = field(default_factory=Till)
    cabinet: Cabinet = field(default_factory=Cabinet)

    def fulfilment(self, now: Callable[[], datetime] | None = None) -> Fulfilment:
        """A worker's."""
        return Fulfilment(
            self.till, self.cabinet, self.ledger, "a worker", now or (lambda: self.now)
        )
