"""Stripe, as far as fulfilment needs it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Protocol

from shimmy_store.domain.purchases import Purchases
from shimmy_store.domain.webhook_event import WebhookEvent


class Payments(Protocol):
    """Every method raises PaymentsError."""

    async def fetch(self, customer: str) -> Purchases:
        """What a customer has bought, as it is now; nothing for one that was deleted."""
        ...

    async def customer_of(self, payment: str) -> str:
        """Whose payment intent this is; empty where it is nobody's."""
        ...

    async def cancel(self, subscription: str, *, credit: bool) -> None:
        """End a subscription now, with or without credit for what is left; twice does no harm."""
        ...

    def events(self, since: datetime) -> AsyncGenerator[WebhookEvent, None]:
        """What happened since then by Stripe's clock, newest first; it keeps that for 30 days."""
        ...

    def customers(self, after: str = "") -> AsyncGenerator[str, None]:
        """Every customer there is, newest first; or only those behind ``after``."""
        ...
