"""Begin a purchase, or lead a customer who pays already to the portal."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

from shimmy_store.domain.buying import check_price, decide_way
from shimmy_store.domain.catalog import Catalog, PlanId
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.purchases import Purchases, combine_purchases
from shimmy_store.errors import PaymentsError
from shimmy_store.ports.checkout import Checkout, Order, PlanChange
from shimmy_store.ports.ledger import Ledger
from shimmy_store.ports.payments import Payments
from shimmy_store.use_cases.fetch_merged import fetch_merged

Place: TypeAlias = Literal["checkout", "portal", "licence"]


@dataclass(frozen=True, slots=True)
class Counter:
    """What selling works with; ``url`` is the store's, without a slash at its end."""

    catalog: Catalog
    checkout: Checkout
    payments: Payments
    ledger: Ledger
    livemode: bool
    url: str
    now: Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Way:
    """Where the buyer goes: to pay, to change what is paid for, or to the licence held."""

    place: Place
    url: str


async def start_checkout(
    plan_id: PlanId, customer: str, attempt: str, counter: Counter, browser: str = ""
) -> Way:
    """``customer`` is empty for somebody not signed in; ``attempt`` names one form of ``browser``.

    Raises PaymentsError, LedgerError. A price of another mode or amount than the catalog's is not
    sold, and raises an alarm.
    """
    price = await _price(plan_id, counter)
    licence_page = f"{counter.url}/view-license"
    if customer:
        way = decide_way(plan_id, await _held(customer, counter))
        if way == "licence":
            return Way("licence", licence_page)
        if way != "checkout":
            change = PlanChange(way.subscription, price) if way.confirms else None
            url = await counter.checkout.open_portal(customer, licence_page, change)
            return Way("portal", url)
    # Whoever signs in meanwhile makes another purchase of the same form.
    name = uuid.uuid5(uuid.NAMESPACE_OID, f"{browser} {attempt} {plan_id} {customer}")
    order = Order(
        counter.catalog.plan(plan_id),
        price,
        customer,
        str(name),
        success_url=f"{counter.url}/success?session_id={{CHECKOUT_SESSION_ID}}",
        cancel_url=f"{counter.url}/cancel",
        browser=browser,
    )
    return Way("checkout", await counter.checkout.begin(order))


async def _held(customer: str, counter: Counter) -> Purchases:
    """Also what came with a merge; but the portal shows only one's own subscriptions."""
    own = await counter.payments.fetch(customer)
    merged = await fetch_merged(customer, counter.ledger, counter.payments)
    bought = [one for _, one in merged]
    return replace(own, payments=combine_purchases(own, bought).payments)


async def _price(plan_id: PlanId, counter: Counter) -> str:
    plan, price = counter.catalog.plan(plan_id), await counter.checkout.price(plan_id)
    verdict = check_price(plan, counter.catalog.currency, price, livemode=counter.livemode)
    if price is not None and verdict == "fine":
        return price.id
    if price is not None and verdict in ("wrong-mode", "differs"):
        code: Literal["wrong-mode", "price-differs"] = (
            "wrong-mode" if verdict == "wrong-mode" else "price-differs"
        )
        await counter.ledger.raise_alarms([Alarm(code, price.id)], counter.now())
    raise PaymentsError(
        "plan-not-on-sale",
        f"The {plan.name} plan is not on sale at the moment.",
        hint="Its price at Stripe is missing, of another mode, or not the catalog's.",
    )
