"""The ``Payments`` port over Stripe's own client. The only place that translates its errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import stripe

from shimmy_store.domain.purchases import Purchases
from shimmy_store.domain.stripe_purchases import StripeObjects, read_purchases
from shimmy_store.errors import PaymentsError

_PAGE = 100
_NOT_FOUND = 404


class StripePayments:
    """``client`` is asynchronous and carries key, mode and retries."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    async def fetch(self, customer: str) -> Purchases:
        of = {"customer": customer, "limit": _PAGE}
        with _errors():
            charges = await _all(self._v1.charges, of)
            objects = StripeObjects(
                customer,
                subscriptions=await _all(self._v1.subscriptions, {**of, "status": "all"}),
                invoices=await _all(
                    self._v1.invoices, {**of, "status": "paid", "expand": ["data.payments"]}
                ),
                payment_intents=await _all(self._v1.payment_intents, of),
                charges=charges,
                disputes=[
                    dispute
                    for charge in charges
                    if charge["disputed"]
                    for dispute in await _all(self._v1.disputes, {"charge": charge["id"]})
                ],
            )
            return read_purchases(objects)

    async def customer_of(self, payment: str) -> str:
        with _errors():
            found = (await self._v1.payment_intents.retrieve_async(payment)).to_dict()
        customer = found["customer"]
        return str(customer) if customer else ""

    async def cancel(self, subscription: str) -> None:
        with _errors():
            try:
                await self._v1.subscriptions.cancel_async(
                    subscription, {"prorate": True, "invoice_now": True}
                )
            except stripe.InvalidRequestError as error:
                # A subscription that has ended is not found by this call any more.
                if error.http_status != _NOT_FOUND:
                    raise


async def _all(resource: Any, params: dict[str, Any]) -> list[dict[str, Any]]:
    listed = await resource.list_async(params)
    return [one.to_dict() async for one in listed.auto_paging_iter()]


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError) as error:
        raise PaymentsError(
            "payments-unreachable",
            f"Stripe was not reached or is failing: {type(error).__name__}.",
            hint="It is tried again later.",
            retryable=True,
        ) from error
    except stripe.StripeError as error:
        raise PaymentsError(
            "payments-refused",
            f"Stripe refuses: {error.code or type(error).__name__}.",
            hint="Check the key, its mode and its permissions.",
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise PaymentsError(
            "payments-malformed",
            f"Stripe's objects are of another shape than expected: {error}.",
            hint="Compare the account's API version with the one this store pins.",
        ) from error
