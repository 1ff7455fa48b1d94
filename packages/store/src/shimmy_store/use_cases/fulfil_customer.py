"""Look at one customer: what was bought, which licence follows, make it so, remember it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from shimmy_store.domain.fulfilment import Decision, decide_fulfilment
from shimmy_store.domain.notices import Notice, Told, decide_notices
from shimmy_store.domain.purchases import Purchases, combine_purchases
from shimmy_store.ports.ledger import CustomerRecord, Lease, Ledger
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
    same, and every step is one that may be taken twice. A customer who was merged into another one
    is settled with that one. Raises StoreError.
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
    if lease.record.merged_into:
        return await _settle_merged(lease, fulfilment)
    record, ledger = lease.record, fulfilment.ledger
    members = await ledger.merged_into(record.customer)
    own = await fulfilment.payments.fetch(record.customer)
    merged = [(one, await _fetch_merged(one, fulfilment)) for one in members]
    purchases = combine_purchases(own, [bought for _, bought in merged])
    decision = decide_fulfilment(purchases, fulfilment.now(), record.origin)
    # Before anything is done about them: afterwards the reason may be gone from Stripe.
    await ledger.raise_alarms(decision.alarms, fulfilment.now())
    for subscription in decision.cancel:
        credit = subscription not in decision.uncredited
        await fulfilment.payments.cancel(subscription, credit=credit)
    for member, bought in merged:
        await _end_licence(member, bought, fulfilment)
    record, notices = await _converge(record, purchases, decision, fulfilment)
    settled = await ledger.settle_customer(lease, record, notices, fulfilment.now())
    return "settled" if settled else "overtaken"


async def _converge(
    record: CustomerRecord, purchases: Purchases, decision: Decision, fulfilment: Fulfilment
) -> tuple[CustomerRecord, Sequence[Notice]]:
    record, licence = replace(record, email=purchases.email), decision.licence
    if licence is None:
        return record, ()
    await converge_licence(licence, record.customer, fulfilment.licences, fulfilment.now)
    told = Told(record.plan, record.changes)
    notices = decide_notices(purchases, licence, told)
    changed = licence.suspended is None and told.plan not in (None, licence.plan)
    record = replace(
        record,
        origin=record.origin or decision.origin,
        # A plan that gives no access is not told of, so it is not what was told last.
        plan=licence.plan if licence.suspended is None else record.plan,
        changes=record.changes + changed,
    )
    return record, notices


async def _settle_merged(lease: Lease, fulfilment: Fulfilment) -> Fulfilled:
    """The other's licence stands for this one's purchases: that one is looked at."""
    outcome = await fulfil_customer(lease.record.merged_into, fulfilment)
    if outcome != "settled":
        await fulfilment.ledger.release_customer(lease)
        return outcome
    found = await fulfilment.payments.fetch(lease.record.customer)
    record = replace(lease.record, email=found.email)
    settled = await fulfilment.ledger.settle_customer(lease, record, (), fulfilment.now())
    return "settled" if settled else "overtaken"


async def _fetch_merged(member: CustomerRecord, fulfilment: Fulfilment) -> Purchases:
    bought = await fulfilment.payments.fetch(member.customer)
    return replace(bought, given_up=frozenset(member.given_up))


async def _end_licence(member: CustomerRecord, bought: Purchases, fulfilment: Fulfilment) -> None:
    """Two customers that became one have one licence: the other's own is suspended."""
    if member.origin is None:
        return
    everything = replace(bought, given_up=frozenset())
    licence = decide_fulfilment(everything, fulfilment.now(), member.origin).licence
    if licence is not None:
        ended = replace(licence, suspended="merged")
        await converge_licence(ended, member.customer, fulfilment.licences, fulfilment.now)
