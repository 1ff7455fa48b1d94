"""The simulator as an ASGI app: the API below ``/v1``, hosted pages beside it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from shimmy_sandbox.simulation.clock import SimulatedClock
from shimmy_sandbox.simulation.exchange import Outgoing, read_body
from shimmy_sandbox.stripe_api.api import Api, Incoming
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.deliveries import was_tried
from shimmy_sandbox.stripe_api.hosted import answer_page
from shimmy_sandbox.stripe_api.pages import Page
from shimmy_sandbox.stripe_api.passing_time import run_everything
from shimmy_sandbox.stripe_api.store import Store
from shimmy_sandbox.stripe_api.wire import RefusalError

_REDIRECT_WAITS_SECONDS = 10.0


@dataclass(slots=True)
class StripeApp:
    """Answers in the event loop, one request after the other; waiting never holds others up.

    ``thinking`` seconds pass between the acceptance of an API request and its work, so that tests
    can send another one meanwhile.
    """

    store: Store
    clock: SimulatedClock
    api: Api
    thinking: float = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if body is None:
            return
        request = Incoming(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            headers={n.decode("latin-1"): v.decode("latin-1") for n, v in scope["headers"]},
            body=body,
        )
        books = self._books(scope)
        if request.path.startswith("/v1/"):
            answer = await self._api(request, books)
        else:
            answer = await self._page(request, books)
        headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in answer.headers.items()]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    def _books(self, scope: Scope) -> Books:
        host, port = scope["server"]
        return Books(self.store, int(self.clock.now().timestamp()), f"http://{host}:{port}")

    async def _api(self, request: Incoming, books: Books) -> Outgoing:
        key = request.idempotency_key
        if key is None:
            await self._think()
            return self.api.answer(request, books)
        try:
            self.api.keys.claim(key)
        except RefusalError as refused:
            return self.api.refuse(refused)
        try:
            await self._think()
            return self.api.answer(request, books)
        finally:
            self.api.keys.release(key)

    async def _think(self) -> None:
        if self.thinking:
            await asyncio.sleep(self.thinking)

    async def _page(self, request: Incoming, books: Books) -> Outgoing:
        with self.store.transaction():
            run_everything(books)
            page = answer_page(books, request.method, request.path, request.query, request.body)
        if page.after is not None:
            await self._delivered(page.after)
        return _sent(page)

    async def _delivered(self, event: str) -> None:
        """Stripe sends the customer on once the shop has answered, or after ten seconds."""
        for _ in range(int(_REDIRECT_WAITS_SECONDS / 0.02)):
            if was_tried(self.store, event):
                return
            await asyncio.sleep(0.02)


def _sent(page: Page) -> Outgoing:
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "Shimmy-Sandbox": "not for production",
    }
    if page.location is not None:
        headers["Location"] = page.location
    return Outgoing(page.status, headers, page.html.encode())
