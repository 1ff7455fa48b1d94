"""Look at every customer there is, whatever events were heard: heals what webhooks missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, TypeAlias

from shimmy_store.domain.retry import read_failure
from shimmy_store.errors import LedgerError
from shimmy_store.use_cases.fulfil_customer import Fulfilled, Fulfilment
from shimmy_store.use_cases.fulfil_in_turn import fulfil_in_turn

Reconciled: TypeAlias = Fulfilled | Literal["failed"]


@dataclass(frozen=True, slots=True)
class Looked:
    """One customer looked at; ``error`` is the code of what failed, ``crash`` a mistake's kind."""

    customer: str
    outcome: Reconciled
    error: str = ""
    crash: str = ""


async def reconcile_customers(
    fulfilment: Fulfilment, after: str = "", patience: float = 0.0
) -> AsyncGenerator[Looked, None]:
    """One after the other, so that it may be watched and stopped. Raises PaymentsError, LedgerError
    where the list itself or the ledger fails; a customer that fails is told of and passed over.
    ``after`` names a customer: only those behind it in Stripe's list, which are older.
    ``patience``: whom somebody else is just looking at comes last, up to so many seconds later.
    """
    taken, clock = list[str](), asyncio.get_running_loop().time
    # Closed here: not every host's loop goes after what was left half way.
    async with aclosing(fulfilment.payments.customers(after)) as customers:
        async for customer in customers:
            looked = await _look(customer, fulfilment, clock())
            if patience and looked.outcome in ("busy", "overtaken"):
                taken.append(customer)
            else:
                yield looked
    end = clock() + patience
    for customer in taken:
        yield await _look(customer, fulfilment, end)


async def _look(customer: str, fulfilment: Fulfilment, end: float) -> Looked:
    try:
        return Looked(customer, await fulfil_in_turn(customer, fulfilment, end))
    except LedgerError:
        # Of all the others nothing could be noted, either.
        raise
    except Exception as error:  # noqa: BLE001 - a mistake of ours is one customer's matter
        failure = read_failure(error)
        return Looked(customer, "failed", failure.code, failure.crash)
