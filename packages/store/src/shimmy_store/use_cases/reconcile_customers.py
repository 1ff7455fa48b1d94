"""Look at every customer there is, whatever events were heard: heals what webhooks missed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_store.domain.retry import read_failure
from shimmy_store.errors import LedgerError
from shimmy_store.use_cases.fulfil_customer import Fulfilled, Fulfilment, fulfil_customer

Reconciled: TypeAlias = Fulfilled | Literal["failed"]


@dataclass(frozen=True, slots=True)
class Looked:
    """One customer looked at; ``error`` is the code of what failed, ``crash`` a mistake's kind."""

    customer: str
    outcome: Reconciled
    error: str = ""
    crash: str = ""


async def reconcile_customers(
    fulfilment: Fulfilment, after: str = ""
) -> AsyncGenerator[Looked, None]:
    """One after the other, so that it may be watched and stopped. Raises PaymentsError, LedgerError
    where the list itself or the ledger fails; a customer that fails is told of and passed over.
    ``after`` names a customer: only those behind it in Stripe's list, which are older.
    """
    # Closed here: not every host's loop goes after what was left half way.
    async with aclosing(fulfilment.payments.customers(after)) as customers:
        async for customer in customers:
            yield await _look(customer, fulfilment)


async def _look(customer: str, fulfilment: Fulfilment) -> Looked:
    try:
        return Looked(customer, await fulfil_customer(customer, fulfilment))
    except LedgerError:
        # Of all the others nothing could be noted, either.
        raise
    except Exception as error:  # noqa: BLE001 - a mistake of ours is one customer's matter
        failure = read_failure(error)
        return Looked(customer, "failed", failure.code, failure.crash)
