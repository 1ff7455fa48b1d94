"""Look at the next customers, where the time before ended: for hosts that cannot look at all."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from shimmy_store.errors import PaymentsError
from shimmy_store.use_cases.fulfil_customer import Fulfilment
from shimmy_store.use_cases.reconcile_customers import Looked, reconcile_customers


async def continue_reconciling(fulfilment: Fulfilment, most: int) -> AsyncGenerator[Looked, None]:
    """Up to ``most`` of them; after the last one of all it begins anew.

    The ledger's bookmark is the customer looked at last; where Stripe does not know it, the next
    time begins anew. Raises PaymentsError, LedgerError as ``reconcile_customers`` does.
    """
    ledger, number = fulfilment.ledger, 0
    after = await ledger.bookmark()
    try:
        async with aclosing(reconcile_customers(fulfilment, after)) as customers:
            async for looked in customers:
                await ledger.set_bookmark(looked.customer)
                yield looked
                number += 1
                if number >= most:
                    return
    except PaymentsError as error:
        if not error.retryable:
            await ledger.set_bookmark("")
        raise
    await ledger.set_bookmark("")
