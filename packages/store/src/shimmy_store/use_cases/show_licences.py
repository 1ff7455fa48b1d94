"""What customers may see who have proved who they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shimmy_store.domain.fulfilment import licence_id
from shimmy_store.ports.holdings import Holding, Holdings
from shimmy_store.ports.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Shown:
    """``holding`` None: nothing has been paid for yet, or the licence is not made yet."""

    customer: str
    holding: Holding | None


async def show_licences(
    customers: Sequence[str], ledger: Ledger, holdings: Holdings
) -> Sequence[Shown]:
    """One of each: customers that were merged share one. Raises LedgerError, LicensingError."""
    shown: dict[str, Shown] = {}
    for name in customers:
        record = await ledger.customer(name)
        if record is not None and record.merged_into:
            record = await ledger.customer(record.merged_into)
        customer = name if record is None else record.customer
        if customer in shown:
            continue
        origin = None if record is None else record.origin
        holding = None if origin is None else await holdings.show(licence_id(origin))
        shown[customer] = Shown(customer, holding)
    return list(shown.values())
