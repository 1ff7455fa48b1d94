"""Look at every customer that an event told of, and again later where that failed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shimmy_store.domain.retry import decide_retry
from shimmy_store.errors import StoreError
from shimmy_store.ports.ledger import PendingEvent
from shimmy_store.use_cases.fulfil_customer import Fulfilment, fulfil_customer

_MOST = 100


@dataclass(frozen=True, slots=True)
class Swept:
    """How many events were settled, and how many have to wait."""

    settled: int
    waiting: int


async def sweep_events(fulfilment: Fulfilment, chance: Callable[[], float]) -> Swept:
    """One round over what is due. Raises LedgerError; other failures are noted on their event."""
    settled = waiting = 0
    done: set[str] = set()
    for event in await fulfilment.ledger.due_events(fulfilment.now(), _MOST):
        if event.customer and event.customer in done:
            settled += 1
            continue
        try:
            customer = event.customer or await _find_customer(event, fulfilment)
            outcome = await fulfil_customer(customer, fulfilment) if customer else "settled"
        except StoreError as error:
            await _postpone(event, error, fulfilment, chance())
            waiting += 1
            continue
        if outcome == "settled":
            done.add(customer)
            settled += 1
        else:
            waiting += 1
    return Swept(settled, waiting)


async def _find_customer(event: PendingEvent, fulfilment: Fulfilment) -> str:
    customer = await fulfilment.payments.customer_of(event.payment) if event.payment else ""
    await fulfilment.ledger.assign_event(event.id, customer)
    return customer


async def _postpone(
    event: PendingEvent, error: StoreError, fulfilment: Fulfilment, chance: float
) -> None:
    wait = decide_retry(event.attempts + 1, chance, retryable=error.retryable)
    again = None if wait is None else fulfilment.now() + wait
    await fulfilment.ledger.postpone_event(event.id, error.code, again)
