"""Look at every customer that an event told of, and again later where that failed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shimmy_store.domain.retry import decide_retry
from shimmy_store.errors import StoreError
from shimmy_store.ports.ledger import PendingEvent
from shimmy_store.use_cases.fulfil_customer import Fulfilment, fulfil_customer

_MOST = 100
# Each waits on Stripe and Keygen most of the time; both allow for many more.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Swept:
    """How many events were settled, and how many have to wait."""

    settled: int
    waiting: int


async def sweep_events(fulfilment: Fulfilment, chance: Callable[[], float]) -> Swept:
    """One round over what is due. Raises LedgerError; other failures are noted on their event."""
    due = await fulfilment.ledger.due_events(fulfilment.now(), _MOST)
    known: dict[str, list[PendingEvent]] = {}
    for event in due:
        # Events that name no customer are each looked up for themselves.
        known.setdefault(event.customer or f"event {event.id}", []).append(event)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(events: Sequence[PendingEvent]) -> bool:
        async with gate:
            return await _settle(events, fulfilment, chance)

    # All are let finish before a failure is told: none is left running behind our back.
    outcomes = await asyncio.gather(*map(one, known.values()), return_exceptions=True)
    settled = 0
    for events, outcome in zip(known.values(), outcomes, strict=True):
        if isinstance(outcome, BaseException):
            raise outcome
        settled += len(events) if outcome else 0
    return Swept(settled, len(due) - settled)


async def _settle(
    events: Sequence[PendingEvent], fulfilment: Fulfilment, chance: Callable[[], float]
) -> bool:
    """Events of one customer, or one event of nobody known yet."""
    try:
        customer = events[0].customer or await _find_customer(events[0], fulfilment)
        return not customer or await fulfil_customer(customer, fulfilment) == "settled"
    except StoreError as error:
        for event in events:
            wait = decide_retry(event.attempts + 1, chance(), retryable=error.retryable)
            again = None if wait is None else fulfilment.now() + wait
            await fulfilment.ledger.postpone_event(event.id, error.code, again)
        return False


async def _find_customer(event: PendingEvent, fulfilment: Fulfilment) -> str:
    customer = await fulfilment.payments.customer_of(event.payment) if event.payment else ""
    await fulfilment.ledger.assign_event(event.id, customer)
    return customer
