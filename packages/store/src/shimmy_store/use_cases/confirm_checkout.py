"""What became of a purchase, asked by the browser that comes back from paying."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from shimmy_store.errors import StoreError
from shimmy_store.ports.checkout import Checkout
from shimmy_store.use_cases.fulfil_customer import Fulfilment, fulfil_customer

PROOF_FOR = timedelta(minutes=30)
# A buyer rather waits two seconds than reads that the licence is being made.
_TRIES, _PAUSE_SECONDS = 20, 0.1

Outcome: TypeAlias = Literal["unknown", "open", "expired", "processing", "preparing", "ready"]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """``proven_until`` is set while having the session's id proves that one has just paid.

    ``browser`` began the purchase.
    """

    outcome: Outcome
    customer: str = ""
    proven_until: datetime | None = None
    browser: str = ""


async def confirm_checkout(
    session: str, checkout: Checkout, fulfilment: Fulfilment, *, livemode: bool
) -> Confirmation:
    """Fulfils what is paid, as the webhook would: whichever comes first.

    Raises PaymentsError, LedgerError; a licence that cannot be made right now is "preparing".
    """
    found = await checkout.find(session)
    if found is None or found.livemode != livemode:
        return Confirmation("unknown")
    if found.state != "paid" or found.paid_at is None or not found.customer:
        return Confirmation("processing" if found.state == "paid" else found.state)
    until = found.paid_at + PROOF_FOR
    proven = until if fulfilment.now() < until else None
    ready = await _made(found.customer, found.paid_at, fulfilment)
    outcome: Outcome = "ready" if ready else "preparing"
    return Confirmation(outcome, found.customer, proven, found.browser)


async def _made(customer: str, paid_at: datetime, fulfilment: Fulfilment) -> bool:
    """Whether the licence is there; most often the webhook's worker is just making it."""
    for _ in range(_TRIES):
        settled = await _settled(customer, fulfilment)
        if settled is not None and settled >= paid_at:
            return True
        try:
            if await fulfil_customer(customer, fulfilment) == "settled":
                # Without a licence Stripe does not tell of the purchase yet: its event will.
                return await _settled(customer, fulfilment) is not None
        except StoreError as error:
            if not error.retryable:
                raise
            return False
        await asyncio.sleep(_PAUSE_SECONDS)
    return False


async def _settled(customer: str, fulfilment: Fulfilment) -> datetime | None:
    """When a customer with a licence was last settled; None for one without."""
    record = await fulfilment.ledger.customer(customer)
    return None if record is None or record.origin is None else record.settled
