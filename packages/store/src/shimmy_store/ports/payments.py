"""Stripe, as far as fulfilment needs it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from shimmy_store.domain.purchases import Purchases


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

    def customers(self, after: str = "") -> AsyncGenerator[str, None]:
        """Every customer there is, newest first; or only those behind ``after``."""
        ...
