"""Tell a person of work that waits for too long, whatever it waits for."""

from __future__ import annotations

from datetime import datetime

from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.retry import LATE_AFTER
from shimmy_store.ports.ledger import Ledger


async def watch_work(ledger: Ledger, now: datetime) -> None:
    """One alarm for events and one for messages. Raises LedgerError."""
    stock = await ledger.take_stock()
    oldest = {"events": stock.oldest_event, "messages": stock.oldest_message}
    late = [
        Alarm("work-late", what)
        for what, since in oldest.items()
        if since is not None and now - since > LATE_AFTER
    ]
    if late:
        await ledger.raise_alarms(late, now)
