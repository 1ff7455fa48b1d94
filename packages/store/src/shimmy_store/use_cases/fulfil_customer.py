"""Look at one customer: what was bought, which licence follows, make it so, remember it."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from shimmy_store.domain.convergence import (
    ChangePlan,
    Create,
    Describe,
    IssuedLicence,
    Reinstate,
    ResetPages,
    Suspend,
)
from shimmy_store.domain.erasing import decide_erased, plan_ending
from shimmy_store.domain.fulfilment import Decision, decide_fulfilment, licence_id
from shimmy_store.domain.notices import Notice, Told, decide_notices
from shimmy_store.domain.purchases import Purchases, combine_purchases
from shimmy_store.errors import LicensingError, StoreError
from shimmy_store.ports.ledger import CustomerRecord, Lease, Ledger
from shimmy_store.ports.licences import Licences
from shimmy_store.ports.payments import Payments
from shimmy_store.ports.tracing import Tracer, Untraced
from shimmy_store.use_cases.converge_licence import converge_licence
from shimmy_store.use_cases.fetch_merged import fetch_merged

# After a crash the next worker waits so long. Whoever is slower gives up in time: by then somebody
# else may look at the customer, and two hands would undo each other's work.
LEASE = timedelta(minutes=2)
_PATIENCE = LEASE / 2
# The longest that one call lasts, its repetitions included: none begins with less of the lease.
_LONGEST_WRITE = LEASE / 2

Fulfilled: TypeAlias = Literal["settled", "busy", "overtaken"]


@dataclass(frozen=True, slots=True)
class Fulfilment:
    """What fulfilment works with; ``owner`` is this worker's name.

    ``is_gone``: whether the worker of that name is certainly over; None where nobody can know.
    ``in_hand``: customers this worker may hold the lease of, and how many of its tasks may.
    """

    payments: Payments
    licences: Licences
    ledger: Ledger
    owner: str
    now: Callable[[], datetime]
    is_gone: Callable[[str], bool] | None = None
    tracer: Tracer = field(default_factory=Untraced)
    in_hand: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def hold(self, customer: str) -> Iterator[None]:
        """From before a lease is asked for until it was given back, or could not be.

        A lease of ours on anybody else is one that nobody uses: the ledger was gone when it was to
        be given back, or after it was taken and before that was told.
        """
        self.in_hand[customer] += 1
        try:
            yield
        finally:
            self.in_hand[customer] -= 1
            if not self.in_hand[customer]:
                del self.in_hand[customer]


async def fulfil_customer(customer: str, fulfilment: Fulfilment) -> Fulfilled:
    """Settle everything that is known of this customer up to now.

    Any number of times, in any order, stopped anywhere: Stripe is asked again, the decision is the
    same, and every step is one that may be taken twice. A customer who was merged into another one
    is settled with that one. Raises StoreError, also where it takes too long.
    """
    with fulfilment.tracer.span("fulfil") as span, fulfilment.hold(customer):
        lease = await _lease(customer, fulfilment)
        outcome: Fulfilled = "busy"
        if lease is not None:
            span.note({"shimmy.event_ids": " ".join(lease.events)})
            outcome = await _fulfil(lease, fulfilment)
        span.note({"shimmy.outcome": outcome})
        return outcome


async def _fulfil(lease: Lease, fulfilment: Fulfilment) -> Fulfilled:
    # By the loop's time: the clock that leases are counted by may be set, or stand still.
    # Who was merged writes nothing and waits for the other one, who has a patience of their own.
    merged = bool(lease.record.merged_into)
    patience = asyncio.timeout(None if merged else _PATIENCE.total_seconds())
    try:
        async with patience:
            return await _settle(lease, fulfilment)
    except BaseException as error:
        if isinstance(error, TimeoutError) and patience.expired():
            # What was just asked for may still happen: nobody else begins before that is over.
            raise _too_slow() from error
        # The next one need not wait for a lease that nobody uses. After a crash it does.
        await fulfilment.ledger.release_customer(lease, fulfilment.now())
        raise


async def _lease(customer: str, fulfilment: Fulfilment) -> Lease | None:
    """Who is stopped meanwhile gives back what it may just have got: else all wait for its end."""
    ledger, now = fulfilment.ledger, fulfilment.now()
    asked = asyncio.ensure_future(
        ledger.lease_customer(customer, fulfilment.owner, now, now + LEASE)
    )
    try:
        return await asyncio.shield(asked)
    except asyncio.CancelledError:
        with suppress(StoreError):
            lease = await asked
            if lease is not None:
                await ledger.release_customer(lease, fulfilment.now())
        raise


def _too_slow() -> LicensingError:
    return LicensingError(
        "fulfilment-too-slow",
        "Looking at this customer takes longer than it may.",
        hint="It is tried again later. If that goes on, Stripe or Keygen are very slow.",
        retryable=True,
    )


@dataclass(frozen=True, slots=True)
class _Hand:
    """Writes for a customer only while the lease certainly lasts; it is Keygen's port, too."""

    lease: Lease
    fulfilment: Fulfilment

    def check(self) -> None:
        if self.fulfilment.now() + _LONGEST_WRITE > self.lease.until:
            raise _too_slow()

    async def cancel(self, subscription: str, *, credit: bool) -> None:
        self.check()
        await self.fulfilment.payments.cancel(subscription, credit=credit)

    async def find(self, identifier: uuid.UUID) -> IssuedLicence | None:
        return await self.fulfilment.licences.find(identifier)

    async def create(self, step: Create) -> Literal["created", "exists"]:
        self.check()
        return await self.fulfilment.licences.create(step)

    async def change(
        self,
        identifier: uuid.UUID,
        step: ChangePlan | Describe | ResetPages | Suspend | Reinstate,
    ) -> None:
        self.check()
        await self.fulfilment.licences.change(identifier, step)


async def _settle(lease: Lease, fulfilment: Fulfilment) -> Fulfilled:
    if lease.record.erased is not None:
        return await _settle_erased(lease, fulfilment)
    if lease.record.merged_into:
        return await _settle_merged(lease, fulfilment)
    record, ledger, hand = lease.record, fulfilment.ledger, _Hand(lease, fulfilment)
    own = await fulfilment.payments.fetch(record.customer)
    merged = await fetch_merged(record.customer, ledger, fulfilment.payments)
    purchases = combine_purchases(own, [bought for _, bought in merged])
    decision = decide_fulfilment(purchases, fulfilment.now(), record.origin)
    # Before anything is done about them: afterwards the reason may be gone from Stripe.
    await ledger.raise_alarms(decision.alarms, fulfilment.now(), record.customer)
    # Before anything is made under its name: an older payment may succeed before this is settled.
    if record.origin is None and decision.origin is not None:
        if not await ledger.note_origin(lease, decision.origin):
            await ledger.release_customer(lease, fulfilment.now())
            return "overtaken"
        record = replace(record, origin=decision.origin)
    for subscription in decision.cancel:
        await hand.cancel(subscription, credit=subscription not in decision.uncredited)
    for member, bought in merged:
        await _end_licence(member, bought, hand)
    record, notices = await _converge(record, purchases, decision, hand)
    settled = await ledger.settle_customer(lease, record, notices, fulfilment.now())
    return "settled" if settled else "overtaken"


async def _converge(
    record: CustomerRecord, purchases: Purchases, decision: Decision, hand: _Hand
) -> tuple[CustomerRecord, Sequence[Notice]]:
    record = replace(record, email=purchases.email, look_again=decision.look_again)
    licence = decision.licence
    if licence is None:
        return record, ()
    await converge_licence(licence, record.customer, hand, hand.fulfilment.now)
    told = Told(record.plan, record.changes)
    notices = decide_notices(purchases, licence, told, hand.fulfilment.now())
    changed = licence.suspended is None and told.plan not in (None, licence.plan)
    record = replace(
        record,
        # A plan that gives no access is not told of, so it is not what was told last.
        plan=licence.plan if licence.suspended is None else record.plan,
        changes=record.changes + changed,
    )
    return record, notices


async def _settle_erased(lease: Lease, fulfilment: Fulfilment) -> Fulfilled:
    """Nothing is made, mailed or written down; a licence that is still there ends."""
    record, hand = lease.record, _Hand(lease, fulfilment)
    bought = await fulfilment.payments.fetch(record.customer)
    await fulfilment.ledger.raise_alarms(decide_erased(bought), fulfilment.now(), record.customer)
    if record.origin is not None:
        identifier = licence_id(record.origin)
        step = plan_ending(record.customer, await hand.find(identifier))
        if step is not None:
            await hand.change(identifier, step)
    ended = replace(record, email="", plan=None, look_again=None)
    settled = await fulfilment.ledger.settle_customer(lease, ended, (), fulfilment.now())
    return "settled" if settled else "overtaken"


async def _settle_merged(lease: Lease, fulfilment: Fulfilment) -> Fulfilled:
    """The other's licence stands for this one's purchases: that one is looked at."""
    outcome = await fulfil_customer(lease.record.merged_into, fulfilment)
    if outcome != "settled":
        await fulfilment.ledger.release_customer(lease, fulfilment.now())
        return outcome
    found = await fulfilment.payments.fetch(lease.record.customer)
    record = replace(lease.record, email=found.email, look_again=None)
    settled = await fulfilment.ledger.settle_customer(lease, record, (), fulfilment.now())
    return "settled" if settled else "overtaken"


async def _end_licence(member: CustomerRecord, bought: Purchases, hand: _Hand) -> None:
    """Two customers that became one have one licence: the other's own is suspended."""
    if member.origin is None:
        return
    everything = replace(bought, given_up=frozenset())
    now = hand.fulfilment.now
    licence = decide_fulfilment(everything, now(), member.origin).licence
    if licence is not None:
        ended = replace(licence, suspended="merged")
        await converge_licence(ended, member.customer, hand, now)
