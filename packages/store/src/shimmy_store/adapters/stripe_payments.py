"""The ``Payments`` port over Stripe's own client."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import datetime
from typing import Any

import stripe

from shimmy_store.adapters.stripe_errors import NOT_FOUND, stripe_errors
from shimmy_store.domain.purchases import Purchases
from shimmy_store.domain.stripe_purchases import StripeObjects, read_purchases
from shimmy_store.domain.webhook_event import WebhookEvent, event_of

_PAGE = 100


class StripePayments:
    """``client`` is asynchronous and carries key, mode and retries."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._v1 = client.v1

    async def fetch(self, customer: str) -> Purchases:
        of = {"customer": customer, "limit": _PAGE}
        with stripe_errors():
            found = (await self._v1.customers.retrieve_async(customer)).to_dict()
            charges = await _all(self._v1.charges, of)
            objects = StripeObjects(
                customer,
                subscriptions=await _all(self._v1.subscriptions, {**of, "status": "all"}),
                invoices=[
                    await self._whole(one)
                    for one in await _all(self._v1.invoices, {**of, "expand": ["data.payments"]})
                ],
                payment_intents=await _all(self._v1.payment_intents, of),
                charges=charges,
                disputes=[
                    dispute
                    for charge in charges
                    if charge["disputed"]
                    for dispute in await _all(self._v1.disputes, {"charge": charge["id"]})
                ],
                sessions=await _all(self._v1.checkout.sessions, {**of, "status": "complete"}),
            )
            return replace(read_purchases(objects), email=found.get("email") or "")

    async def _whole(self, invoice: dict[str, Any]) -> dict[str, Any]:
        """With all its lines; Stripe shows the first ten of them."""
        if not invoice["lines"]["has_more"]:
            return invoice
        listed = await self._v1.invoices.line_items.list_async(invoice["id"], {"limit": _PAGE})
        lines = [one.to_dict() async for one in listed.auto_paging_iter()]
        return {**invoice, "lines": {"data": lines, "has_more": False}}

    async def customer_of(self, payment: str) -> str:
        with stripe_errors():
            found = (await self._v1.payment_intents.retrieve_async(payment)).to_dict()
        customer = found["customer"]
        return str(customer) if customer else ""

    async def cancel(self, subscription: str, *, credit: bool) -> None:
        with stripe_errors():
            try:
                await self._v1.subscriptions.cancel_async(
                    subscription,
                    {"prorate": credit, "invoice_now": credit},
                    # One an attempt: under a lasting one a failure would be replayed for a day.
                    {"idempotency_key": str(uuid.uuid4())},
                )
            except stripe.InvalidRequestError as error:
                # A subscription that has ended is not found by this call any more.
                if error.http_status != NOT_FOUND:
                    raise

    async def events(self, since: datetime) -> AsyncGenerator[WebhookEvent, None]:
        with stripe_errors():
            of: stripe.params.EventListParams = {
                "limit": _PAGE,
                "created": {"gte": int(since.timestamp())},
            }
            listed = await self._v1.events.list_async(of)
            async for one in listed.auto_paging_iter():
                event = event_of(one.to_dict())
                if event is not None:
                    yield event

    async def customers(self, after: str = "") -> AsyncGenerator[str, None]:
        with stripe_errors():
            page: stripe.params.CustomerListParams = {"limit": _PAGE}
            if after:
                page["starting_after"] = after
            listed = await self._v1.customers.list_async(page)
            async for one in listed.auto_paging_iter():
                yield one.id


async def _all(resource: Any, params: dict[str, Any]) -> list[dict[str, Any]]:
    listed = await resource.list_async(params)
    return [one.to_dict() async for one in listed.auto_paging_iter()]
