"""Forget a person: of a customer, and of those merged into it, only ids stay."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from shimmy_store.ports.ledger_desk import Erased, LedgerDesk


@dataclass(frozen=True, slots=True)
class MergedAway:
    """Nothing was erased: ``keeper`` is the customer to erase."""

    keeper: str


async def erase_customer(
    customer: str, desk: LedgerDesk, now: datetime
) -> Erased | MergedAway | Literal["unknown"]:
    """Once or again; the licence ends when fulfilment looks next, which an event tells it to.

    Who was merged into another customer is erased with that one: the licence of both would go on
    otherwise. Raises LedgerError.
    """
    found = await desk.file_of(customer)
    if found is None:
        return "unknown"
    if found.record.merged_into and found.record.erased is None:
        return MergedAway(found.record.merged_into)
    return await desk.erase(customer, now)
