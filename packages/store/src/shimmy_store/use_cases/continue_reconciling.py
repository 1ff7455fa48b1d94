"""Look at the next customers, where the time before ended: for hosts that cannot look at all."""

from __future__ import annotations

from collections.abc import AsyncIterator

from shimmy_store.errors import PaymentsError
from shimmy_store.use_cases.fulfil_customer import Fulfilment
from shimmy_store.use_cases.reconcile_customers import Looked, reconcile_customers


async def continue_reconciling(fulfilment: Fulfilment, most: int) -> AsyncIterator[Looked]:
    """Up to ``most`` of them; after the last one of all it begins anew.

    The ledger's bookmark is the customer looked at last. Raises PaymentsError, LedgerError as
    ``reconcile_customers`` does; where Stripe knows the bookmark no more, the next time begins anew.
    """
    ledger, number = fulfilment.ledger, 0
    after = await ledger.bookmark()
    try:
        async for looked in reconcile_customers(fulfilment, after):
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
