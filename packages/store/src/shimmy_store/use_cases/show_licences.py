"""What customers may see who have proved who they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shimmy_store.domain.fulfilment import licence_id
from shimmy_store.ports.holdings import Holding, Holdings
from shimmy_store.ports.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Shown:
    """``holding`` None: nothing is paid for, or not made yet, or it was ``merged`` into another."""

    customer: str
    holding: Holding | None
    merged: bool = False

    def gives_access(self, now: datetime) -> bool:
        """Whether the licence can be used now."""
        if self.holding is None or self.holding.licence.suspended:
            return False
        expiry = self.holding.licence.expiry
        return expiry is None or expiry > now


async def show_licences(
    customers: Sequence[str], ledger: Ledger, holdings: Holdings
) -> Sequence[Shown]:
    """One of each; a customer that was merged into another of them is not shown any more.

    Proof of one customer is none of the customer that it was merged into: an outsider may have paid
    with somebody's address, and the holder of the address merged them. Raises LedgerError,
    LicensingError.
    """
    shown = []
    for name in dict.fromkeys(customers):
        record = await ledger.customer(name)
        if record is not None and record.merged_into in customers:
            continue
        merged = record is not None and bool(record.merged_into)
        gone = record is None or merged or record.erased is not None
        origin = None if record is None or gone else record.origin
        holding = None if origin is None else await holdings.show(licence_id(origin))
        shown.append(Shown(name, holding, merged))
    return shown
