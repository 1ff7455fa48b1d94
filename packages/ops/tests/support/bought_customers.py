"""Customers who bought from the operated town's store, as commands and tests name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from operated_town import OperatedTown
from store_server import eventually, key_on
from visiting import activate, customer_on, licence_at_keygen


@dataclass(frozen=True)
class Buyer:
    """Somebody with a licence."""

    email: str
    customer: str
    key: str
    licence: str


def buyer(operated: OperatedTown, plan: str, email: str, machine: str = "") -> Buyer:
    """Bought, fulfilled, mailed; ``machine`` is activated."""
    store = operated.store
    visitor = store.visitor()
    key = key_on(store.buy(plan, email, visitor).text)
    customer = customer_on(visitor.open("/view-license").text)
    if machine:
        activate(store, key, machine)
    settle(operated, customer)
    return Buyer(email, customer, key, str(licence_at_keygen(store, key)["id"]))


def settle(operated: OperatedTown, customer: str) -> None:
    """Until the store has heard everything and has nothing left to do for this customer."""
    until_delivered(operated)

    def settled() -> bool:
        with operated.desk() as desk:
            (record,) = desk.find_customers(customer=customer)
        events = {one["state"] for one in record["events"]}
        mails = {one["state"] for one in record["messages"]}
        return "pending" not in events and "waiting" not in mails

    eventually(settled)


def until_delivered(operated: OperatedTown) -> None:
    """Until Stripe has told everything that is to be told now."""
    steer = operated.store.town.control
    # Shorter than the client's own patience.
    eventually(lambda: steer("deliveries/idle", {"timeout_seconds": 2})["idle"])


def hear(operated: OperatedTown, customer: str, kind: str) -> None:
    """Until the store has heard an event of this type about the customer, and settled it."""

    def heard() -> bool:
        with operated.desk() as desk:
            (record,) = desk.find_customers(customer=customer)
        return any(one["type"] == kind and one["state"] == "done" for one in record["events"])

    eventually(heard)
    settle(operated, customer)


def licence_now(operated: OperatedTown, one: Buyer) -> Any:
    """As Keygen shows it."""
    return licence_at_keygen(operated.store, one.key)


def machines_now(operated: OperatedTown, one: Buyer) -> list[Any]:
    """Those that are activated."""
    listed = operated.town.admin.get(f"licenses/{one.licence}/machines")
    return list(listed.json()["data"])
