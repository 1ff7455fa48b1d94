"""Whom an address may mean."""

from __future__ import annotations

from dataclasses import dataclass

from shimmy_ops.ports.customer_billing import CustomerBilling
from shimmy_ops.ports.customer_licensing import CustomerLicensing
from shimmy_ops.ports.store_desk import StoreDesk


@dataclass(frozen=True, slots=True)
class Sources:
    """Where something may be kept of a customer."""

    desk: StoreDesk
    billing: CustomerBilling
    licensing: CustomerLicensing


def find_candidates(email: str, sources: Sources) -> tuple[str, ...]:
    """Every customer of this address; the store's first. Raises OpsError."""
    known = [str(one["customer"]) for one in sources.desk.find_customers(email=email)]
    return tuple(dict.fromkeys([*known, *sources.billing.customers_with(email)]))
