"""Steps that many journeys share, and what the town's servers know of somebody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from looking import Complaints
from street import Street

from shimmy_sandbox.shopper.browser import open_tab
from shimmy_sandbox.shopper.pages import GOOD_CARD, CheckoutPage, PricingPage, SuccessPage

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@contextmanager
def somebody(chromium: Browser, *, scripts: bool = True) -> Iterator[Page]:
    """A new person; at the end no script of a page has failed and no policy was broken."""
    complaints = Complaints()
    with open_tab(chromium, scripts=scripts) as tab:
        complaints.listen(tab)
        yield tab
    assert complaints.heard == []


def choose(street: Street, tab: Page, plan: str) -> CheckoutPage:
    """From the store's own pricing page to the checkout."""
    pricing = PricingPage(tab)
    pricing.open(f"{street.url}/pricing")
    pricing.choose(plan)
    return CheckoutPage(tab)


def pay(street: Street, tab: Page, plan: str, email: str, card: str = GOOD_CARD) -> SuccessPage:
    """From the pricing page through the checkout to the store's answer."""
    checkout = choose(street, tab, plan)
    checkout.fill(email, card)
    checkout.pay()
    success = SuccessPage(tab)
    success.wait()
    return success


def customer_of(street: Street, email: str) -> str:
    (customer,) = street.stripe("customers", email=email)
    return str(customer["id"])


def licences_of(street: Street, email: str) -> list[Any]:
    """Every licence that was ever made for the customer with this address."""
    customers = {one["id"] for one in street.stripe("customers", email=email)}
    return [
        one
        for one in street.keygen("licenses?limit=100")
        if one["attributes"]["metadata"].get("customer") in customers
    ]


def the_licence(street: Street, email: str, key: str, plan: str) -> dict[str, Any]:
    """The customer's only licence, which is this one, and its only mail."""
    (licence,) = licences_of(street, email)
    attributes: dict[str, Any] = licence["attributes"]
    assert (attributes["key"], attributes["metadata"]["plan"]) == (key, plan)
    assert attributes["suspended"] is False
    assert key in street.mail(email, "is ready")
    assert len([one for one in street.mails(email) if "is ready" in one["text"]]) == 1
    return attributes


def subscriptions_of(street: Street, email: str) -> list[Any]:
    found: list[Any] = street.stripe(
        "subscriptions", customer=customer_of(street, email), status="all"
    )
    return found


@contextmanager
def late_webhooks(street: Street, **order: Any) -> Iterator[None]:
    """Deliveries as ordered, and as ever afterwards."""
    street.steer("STRIPE", "deliveries", order)
    try:
        yield
    finally:
        street.steer("STRIPE", "deliveries", dict.fromkeys(order, 0))


@contextmanager
def still_clock(street: Street) -> Iterator[None]:
    """The town's time passes as it is steered alone, however long anybody looks at a page."""

    def now() -> str:
        return str(street.steer("STRIPE", "clock", {"advance_seconds": 0})["now"])

    street.steer("STRIPE", "clock", {"frozen": now()})
    try:
        yield
    finally:
        # From there: it never goes back.
        street.steer("STRIPE", "clock", {"now": now()})


def deliveries_to(street: Street, email: str, kind: str = "checkout.session.completed") -> Any:
    """What was delivered, or is to be, of the customer's events of a kind."""
    customer = customer_of(street, email)
    events = street.stripe("events", type=kind, limit=100)
    own = {one["id"] for one in events if one["data"]["object"]["customer"] == customer}
    listed = street.steer("STRIPE", "deliveries", {})["deliveries"]
    return [one for one in listed if one["event"] in own]


@contextmanager
def fault(street: Street, server: str, kind: str, **details: Any) -> Iterator[None]:
    """Something goes wrong at a server of the town for as long as the block lasts."""
    street.steer(server, "faults", {"kind": kind, "times": -1, **details})
    try:
        yield
    finally:
        street.steer(server, "faults", None)


def asked(street: Street) -> set[tuple[str, str]]:
    """Method and path of what Stripe was asked lately."""
    told = httpx.get(f"{street.env['SHIMMY_STORE_STRIPE_URL']}/_sim/requests", trust_env=False)
    return {(one["method"], one["path"]) for one in told.json()["requests"]}


def activation_in(mail: str) -> str:
    """The key that a mail says to activate."""
    found = re.search(r"shimmy license activate (\S+-V3)", mail)
    assert found, mail
    return found[1]
