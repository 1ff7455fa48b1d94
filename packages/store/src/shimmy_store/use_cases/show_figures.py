"""What the operator watches: counts of now, and how long things took within a window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from shimmy_store.domain.figures import Spread, spread_of
from shimmy_store.ports.ledger_desk import LedgerDesk, LedgerFigures


@dataclass(frozen=True, slots=True)
class Figures:
    """``ledger`` at ``now``; the spreads are of what happened since ``since``.

    From Stripe's making an event to its arrival, from then until it was settled, and from the
    outbox to the mail server.
    """

    now: datetime
    since: datetime
    ledger: LedgerFigures
    delivery: Spread
    settling: Spread
    sending: Spread


async def show_figures(desk: LedgerDesk, now: datetime, window: timedelta) -> Figures:
    """Raises LedgerError."""
    since = now - window
    ledger = await desk.figures(since)
    return Figures(
        now,
        since,
        ledger,
        spread_of(ledger.events.delivery),
        spread_of(ledger.events.settling),
        spread_of(ledger.mail.sending),
    )
