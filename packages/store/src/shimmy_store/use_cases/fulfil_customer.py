"""Look at one customer: what was bought, which licence follows, make it so, remember it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from shimmy_store.domain.convergence import IssuedLicence
from shimmy_store.domain.fulfilment import decide_fulfilment
from shimmy_store.ports.ledger import Lease, Ledger, Message
from shimmy_store.ports.licences import Licences
from shimmy_store.ports.payments import Payments
from shimmy_store.use_cases.converge_licence import converge_licence

# Longer than a customer ever takes; after a crash the next worker waits so long.
LEASE = timedelta(minutes=2)

Fulfilled: TypeAlias = Literal["settled", "busy", "overtaken"]


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """What fulfilment works with; ``owner`` is this worker's name."""

    payments: Payments
    licences: Licences
    ledger: Ledger
    owner: str
    now: Callable[[], datetime]


async def fulfil_customer(customer: str, fulfilment: Fulfilment) -> Fulfilled:
    """Settle everything that is known of this customer up to now.

    Any number of times, in any order, stopped anywhere: Stripe is asked again, the decision is the
    same, and every step is one that may be taken twice. Raises StoreError.
    """
    now = fulfilment.now()
    lease = await fulfilment.ledger.lease_customer(customer, fulfilment.owner, now, now + LEASE)
    if lease is None:
        return "busy"
    try:
        return await _settle(lease, fulfilment)
    except BaseException:
        # The next one need not wait for a lease that nobody uses. After a crash it does.
        await fulfilment.ledger.release_customer(lease)
        raise


async def _settle(lease: Lease, fulfilment: Fulfilment) -> Fulfilled:
    record = lease.record
    purchases = await fulfilment.payments.fetch(record.customer)
    decision = decide_fulfilment(purchases, fulfilment.now(), record.origin)
    # Before anything is done about them: afterwards the reason may be gone from Stripe.
    await fulfilment.ledger.raise_alarms(decision.alarms, fulfilment.now())
    for subscription in decision.cancel:
        await fulfilment.payments.cancel(subscription)
    messages: Sequence[Message] = ()
    if decision.licence is not None:
        issued = await converge_licence(
            decision.licence, record.customer, fulfilment.licences, fulfilment.now
        )
        messages = (_licence_mail(record.customer, issued),)
        record = replace(record, origin=record.origin or decision.origin)
    settled = await fulfilment.ledger.settle_customer(lease, record, messages, fulfilment.now())
    return "settled" if settled else "overtaken"


def _licence_mail(customer: str, issued: IssuedLicence) -> Message:
    """The key is not in it: who sends it looks it up, so that it lies in no outbox."""
    body = json.dumps({"licence": str(issued.id)})
    return Message(f"licence/{issued.id}", customer, "licence", body)
