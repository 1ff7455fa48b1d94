"""Everything that the ledger holds about one customer, for whoever asks what is kept of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from shimmy_store.domain.ledger_dump import Value
from shimmy_store.ports.ledger_desk import LedgerDesk


async def export_customer(
    customer: str, desk: LedgerDesk
) -> Mapping[str, Sequence[tuple[Value, ...]]] | Literal["unknown"]:
    """Rows by table, in the columns of ``domain.ledger_dump``; of who is merged into them, too.

    Raises LedgerError.
    """
    rows = await desk.rows_of(customer)
    return rows if any(rows.values()) else "unknown"
