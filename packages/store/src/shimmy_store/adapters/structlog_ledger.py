"""The ledger, with a line for every event that it keeps, settles, postpones or gives up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.structlog_logger import log_with, logger_of
from shimmy_store.domain.notices import Notice
from shimmy_store.domain.private_words import is_event_id
from shimmy_store.ports.ledger import CustomerRecord, EventState, HeardEvent, Lease

_LOG = logger_of("shimmy_store.events")


class LoggedLedger(SqlLedger):
    """See ``ports.ledger``. Ids of our own events name customers and are not told."""

    async def add_event(self, event: HeardEvent, state: EventState) -> bool:
        # Before it is kept: also a line that says why it could not be is about this event.
        named = _named(event.id)
        log_with(**named)
        new = await super().add_event(event, state)
        if new:
            _LOG.info("event-kept", type=event.type, state=state, **named)
        return new

    async def settle_customer(
        self, lease: Lease, record: CustomerRecord, notices: Sequence[Notice], now: datetime
    ) -> bool:
        settled = await super().settle_customer(lease, record, notices, now)
        if settled:
            for event in filter(is_event_id, lease.events):
                _LOG.info("event-settled", event_id=event)
        return settled

    async def assign_event(self, event: str, customer: str, now: datetime) -> None:
        await super().assign_event(event, customer, now)
        if not customer and is_event_id(event):
            _LOG.info("event-settled", event_id=event)

    async def postpone_event(self, event: str, error: str, again: datetime | None) -> None:
        await super().postpone_event(event, error, again)
        told = "event-parked" if again is None else "event-postponed"
        _LOG.info(told, code=error, **_named(event))


def _named(event: str) -> dict[str, str]:
    return {"event_id": event} if is_event_id(event) else {}
