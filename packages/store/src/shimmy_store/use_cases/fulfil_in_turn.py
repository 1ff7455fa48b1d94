"""Look at a customer whom somebody else may just be looking at."""

from __future__ import annotations

import asyncio

from shimmy_store.use_cases.fulfil_customer import Fulfilled, Fulfilment, fulfil_customer

# So soon somebody else is done with most customers.
_AGAIN_SECONDS = 0.2


async def fulfil_in_turn(customer: str, fulfilment: Fulfilment, end: float) -> Fulfilled:
    """As ``fulfil_customer``, again and again until it is our turn, or ``end``, by the loop's time,
    has come; once in any case. Raises what that raises.
    """
    while (outcome := await fulfil_customer(customer, fulfilment)) != "settled":
        if asyncio.get_running_loop().time() >= end:
            break
        await asyncio.sleep(_AGAIN_SECONDS)
    return outcome
