"""Find what happened at Stripe and never came here: a webhook may be lost for good."""

from __future__ import annotations

from collections.abc import Set
from contextlib import aclosing
from datetime import datetime, timedelta

from shimmy_store.domain.webhook_event import WebhookEvent
from shimmy_store.ports.ledger import HeardEvent, Ledger
from shimmy_store.ports.payments import Payments

# Stripe's list may show an event a little later than its time says.
_OVERLAP = timedelta(minutes=1)
# D1 takes a hundred values in one statement.
_TOGETHER = 90


async def hear_lost_events(
    payments: Payments, ledger: Ledger, handled: Set[str], now: datetime
) -> int:
    """Compare Stripe's list with the ledger, from where the last time ended; how many were lost.

    They are kept without a body, and settled like any other. A ledger that never heard of an event
    is left alone: it may be about to be filled from a backup, and has to be empty for that.
    Raises PaymentsError, LedgerError; what was not compared then is the next time.
    """
    through = await ledger.heard_through()
    if through is None:
        return 0
    newest, lost, some = through, 0, list[WebhookEvent]()
    async with aclosing(payments.events(through - _OVERLAP)) as events:
        async for event in events:
            newest = max(newest, event.created)
            if event.type in handled:
                some.append(event)
            if len(some) == _TOGETHER:
                lost += await _keep(some, ledger, now)
                some = []
    lost += await _keep(some, ledger, now)
    if newest > through:
        await ledger.note_heard_through(newest)
    return lost


async def _keep(some: list[WebhookEvent], ledger: Ledger, now: datetime) -> int:
    unheard = await ledger.unheard([one.id for one in some])
    lost = 0
    for one in some:
        if one.id in unheard:
            heard = HeardEvent(
                one.id, one.type, one.customer, one.created, now, body="", payment=one.payment
            )
            # Its webhook may come at this very moment: then nothing was lost.
            lost += await ledger.add_event(heard, "pending")
    return lost
