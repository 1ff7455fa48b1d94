"""What those bought for whose purchases another customer's licence stands, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from shimmy_store.domain.purchases import Purchases
from shimmy_store.ports.ledger import CustomerRecord, Ledger
from shimmy_store.ports.payments import Payments


async def fetch_merged(
    customer: str, ledger: Ledger, payments: Payments
) -> Sequence[tuple[CustomerRecord, Purchases]]:
    """Everybody merged into ``customer``, with what they gave up. Raises StoreError."""
    return [
        (one, replace(await payments.fetch(one.customer), given_up=frozenset(one.given_up)))
        for one in await ledger.merged_into(customer)
    ]
