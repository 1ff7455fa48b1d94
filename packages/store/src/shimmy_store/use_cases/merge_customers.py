"""Make one of two Stripe customers, once the holder of their address has said so."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_store.domain.mailboxes import mailbox_of
from shimmy_store.domain.merging import Merge, Side, Undecided, plan_merge
from shimmy_store.domain.purchases import combine_purchases
from shimmy_store.ports.ledger import Lease, Link
from shimmy_store.ports.mail import LinkSigner
from shimmy_store.use_cases.fetch_merged import fetch_merged
from shimmy_store.use_cases.fulfil_customer import LEASE, Fulfilment

Unmerged: TypeAlias = Literal["unknown", "used", "late", "busy", "other-address"] | Undecided


@dataclass(frozen=True, slots=True)
class Merged:
    """``keeper`` has the licence from now on."""

    keeper: str


async def merge_customers(
    token: str, signer: LinkSigner, fulfilment: Fulfilment
) -> Merged | Unmerged:
    """Decide whose licence stays and note it, all at once; fulfilment does the rest.

    The link is used up by that note and by nothing before it. Both must still have the mailbox that
    the link was mailed to: its holder says nothing for another one's. Raises StoreError.
    """
    ledger = fulfilment.ledger
    identifier = signer.read(token)
    link = await ledger.link(identifier) if identifier else None
    refused = _refusal(link, fulfilment)
    if link is None or refused is not None:
        return refused or "unknown"
    with ExitStack() as hands:
        return await _take_both(link, fulfilment, hands)


async def _take_both(link: Link, fulfilment: Fulfilment, hands: ExitStack) -> Merged | Unmerged:
    ledger, leases = fulfilment.ledger, list[Lease]()
    try:
        for customer in sorted({await _root(one, fulfilment) for one in link.customers}):
            hands.enter_context(fulfilment.hold(customer))
            now = fulfilment.now()
            lease = await ledger.lease_customer(customer, fulfilment.owner, now, now + LEASE)
            if lease is None:
                return "busy"
            leases.append(lease)
            if lease.record.merged_into:
                # Another merge came in between the look and the lease.
                return "busy"
        if len(leases) < 2:
            return "same-customer"
        return await _merge(leases[0], leases[1], link, fulfilment)
    finally:
        for lease in leases:
            await ledger.release_customer(lease, fulfilment.now())


def _refusal(link: Link | None, fulfilment: Fulfilment) -> Unmerged | None:
    if link is None or link.kind != "merge":
        return "unknown"
    if link.used is not None:
        return "used"
    return "late" if fulfilment.now() >= link.expires else None


async def _root(customer: str, fulfilment: Fulfilment) -> str:
    record = await fulfilment.ledger.customer(customer)
    return customer if record is None or not record.merged_into else record.merged_into


async def _merge(
    first: Lease, second: Lease, link: Link, fulfilment: Fulfilment
) -> Merged | Unmerged:
    sides = [await _side(one, fulfilment) for one in (first, second)]
    if {mailbox_of(one.purchases.email) for one in sides} != {link.mailbox} or not link.mailbox:
        return "other-address"
    plan = plan_merge(sides[0], sides[1], fulfilment.now())
    if not isinstance(plan, Merge):
        return plan
    keeper, loser = (first, second) if plan.keeper == first.record.customer else (second, first)
    given_up = tuple(dict.fromkeys((*loser.record.given_up, *plan.given_up)))
    noted = await fulfilment.ledger.merge_customers(
        keeper, loser, given_up, link.id, fulfilment.now()
    )
    return Merged(plan.keeper) if noted else "busy"


async def _side(lease: Lease, fulfilment: Fulfilment) -> Side:
    own = await fulfilment.payments.fetch(lease.record.customer)
    merged = await fetch_merged(lease.record.customer, fulfilment.ledger, fulfilment.payments)
    return Side(combine_purchases(own, [bought for _, bought in merged]), lease.record.origin)
