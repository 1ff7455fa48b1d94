"""What is left to do about a customer who was erased: nothing is given any more.

The customer's licence ends; only a person can end what Stripe still bills for.
"""

from __future__ import annotations

from shimmy_store.domain.convergence import IssuedLicence, Suspend
from shimmy_store.domain.fulfilment import COLLECTING, Alarm
from shimmy_store.domain.purchases import Purchases


def plan_ending(customer: str, issued: IssuedLicence | None) -> Suspend | None:
    """The step that ends a licence; None where there is none of this customer's that is good."""
    if issued is None or issued.suspended or issued.metadata.get("customer") != customer:
        return None
    return Suspend()


def decide_erased(purchases: Purchases) -> tuple[Alarm, ...]:
    """An alarm for each subscription that takes money, or may, and is not about to end."""
    return tuple(
        Alarm("erased-still-billed", one.id)
        for one in purchases.subscriptions
        if one.status in COLLECTING and one.ends is None
    )
