"""Stripe's client over any httpx transport: its own one insists on certificates from a disk."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import stripe


class StripeOverHttpx(stripe.HTTPClient):
    """Asynchronous requests only, whole bodies only; each takes up to ``seconds``."""

    name = "httpx"

    def __init__(self, transport: httpx.AsyncBaseTransport, seconds: float) -> None:
        super().__init__()
        self._client = httpx.AsyncClient(transport=transport, timeout=seconds, trust_env=False)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """What came, of whatever status. Raises APIConnectionError where nothing did."""
        content = post_data.encode() if isinstance(post_data, str) else post_data
        try:
            reply = await self._client.request(method, url, headers=dict(headers), content=content)
        except httpx.HTTPError as error:
            # Safe to repeat: the client sends an idempotency key with whatever writes.
            told = f"Stripe was not reached: {type(error).__name__}."
            raise stripe.APIConnectionError(told, should_retry=True) from error  # type: ignore[no-untyped-call]
        return reply.content, reply.status_code, reply.headers

    async def sleep_async(self, secs: float) -> None:
        """Between two tries."""
        await asyncio.sleep(secs)

    async def close_async(self) -> None:
        """Nothing is open but what the transport holds."""
        await self._client.aclose()
