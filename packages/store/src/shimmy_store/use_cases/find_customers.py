"""What the ledger knows of a customer, found by id or by address."""

from __future__ import annotations

from collections.abc import Sequence

from shimmy_store.ports.ledger_desk import CustomerFile, LedgerDesk


async def find_customers(
    desk: LedgerDesk, *, customer: str = "", email: str = ""
) -> Sequence[CustomerFile]:
    """By the one that is given; customers who are merged away, too. Raises LedgerError."""
    if not customer:
        return await desk.files_with(email)
    found = await desk.file_of(customer)
    return [] if found is None else [found]
