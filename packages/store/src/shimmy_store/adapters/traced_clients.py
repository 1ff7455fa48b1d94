"""What we ask Stripe, Keygen and the mail server, each as a span; what is asked for stays out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import stripe

from shimmy_store.domain.traced_paths import name_path
from shimmy_store.ports.mail import Mail, Mailer
from shimmy_store.ports.tracing import Tracer

_STATUS = "http.response.status_code"


class TracedStripe(stripe.HTTPXClient):
    """Stripe's own client over httpx; one span a try."""

    def __init__(self, tracer: Tracer, seconds: float) -> None:
        super().__init__(timeout=seconds)
        self._tracer = tracer

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """As the parent does."""
        name = f"stripe {method.upper()} {name_path(url)}"
        with self._tracer.span(name, "asks") as span:
            reply = await super().request_async(method, url, headers, post_data)
            span.note({_STATUS: reply[1]})
            return reply


class TracedKeygen(httpx.AsyncClient):
    """One span a request to Keygen."""

    def __init__(self, tracer: Tracer, **options: Any) -> None:
        super().__init__(**options)
        self._tracer = tracer

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        """As the parent does."""
        name = f"keygen {request.method} {name_path(str(request.url))}"
        with self._tracer.span(name, "asks") as span:
            reply = await super().send(request, **options)
            span.note({_STATUS: reply.status_code})
            return reply


class TracedMailer:
    """One span a mail, by whatever way it goes."""

    def __init__(self, mailer: Mailer, tracer: Tracer) -> None:
        self._mailer, self._tracer = mailer, tracer

    async def send(self, mail: Mail) -> None:
        """As the mailer does."""
        with self._tracer.span("mail send", "asks"):
            await self._mailer.send(mail)
