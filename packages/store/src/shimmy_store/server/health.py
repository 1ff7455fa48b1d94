"""Is the store well, and what does it count?"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable
from contextlib import AbstractAsyncContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shimmy_store import __version__
from shimmy_store.errors import StoreError, VisitError
from shimmy_store.ports.ledger import Ledger, Stock
from shimmy_store.server.logs import logger_of
from shimmy_store.server.meters import Meters
from shimmy_store.wiring import Shop

_LOG = logger_of(__name__)
_PATIENCE_SECONDS = 5
# Asking is not free for Stripe and Keygen: an answer is good for so long.
_FRESH = timedelta(seconds=5)
# An event that waits longer than this has failed several times.
_TOO_OLD = timedelta(minutes=10)
_FRESH_ONLY = {"Cache-Control": "no-store"}
_LOOPBACK = ("127.0.0.1", "::1")


class HealthDesk:
    """Asks everybody the store depends on, seldom enough.

    ``queue``: who comes while somebody asks waits for that answer. Without it he asks as well,
    where one request must not wait for another's.
    """

    def __init__(self, shop: Shop, *, queue: bool = True) -> None:
        self._shop = shop
        self._turn: AbstractAsyncContextManager[object] = asyncio.Lock() if queue else nullcontext()
        self._last: tuple[datetime, dict[str, Any]] | None = None

    async def report(self) -> dict[str, Any]:
        """What works and what does not; codes only."""
        async with self._turn:
            now = self._shop.now()
            if self._last is None or not timedelta(0) <= now - self._last[0] < _FRESH:
                report = await self._ask(now)
                # Good from here on: else a slow answer is old at once, and everybody in the queue
                # asks again and waits as long.
                self._last = self._shop.now(), report
            return self._last[1]

    async def _ask(self, now: datetime) -> dict[str, Any]:
        shop = self._shop
        (ledger, stock), (stripe, _), (keygen, _) = await asyncio.gather(
            _try(_write_and_count(shop.ledger, now)),
            _try(shop.counter.checkout.reach()),
            _try(shop.holdings.reach()),
        )
        checks = {"ledger": ledger, "stripe": stripe, "keygen": keygen}
        report: dict[str, Any] = {"checks": checks}
        if isinstance(stock, Stock):
            age = None if stock.oldest_event is None else now - stock.oldest_event
            late = age is not None and age > _TOO_OLD
            checks["events"] = "late" if late else "ok"
            report["oldest_event_seconds"] = None if age is None else round(age.total_seconds(), 3)
            # Nobody goes on with what is parked: it has its alarm, and the others go on.
            report["events_parked"] = stock.events.get("parked", 0)
            report["messages_waiting"] = stock.messages_waiting
            report["messages_parked"] = stock.messages_parked
            report["alarms"] = stock.alarms
        well = all(one == "ok" for one in checks.values())
        return {
            "status": "ok" if well else "failing",
            "version": __version__,
            "mode": shop.settings.mode,
            **report,
        }


async def _write_and_count(ledger: Ledger, now: datetime) -> Stock:
    """What only reads goes on with a full disk, while no webhook can be kept."""
    await ledger.prove_writable(now)
    return await ledger.take_stock()


async def _try(asked: Awaitable[Any]) -> tuple[str, Any]:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return "ok", await asked
    except StoreError as error:
        return error.code, None
    except TimeoutError:
        return "too-slow", None


async def alive(request: Request) -> Response:  # noqa: ARG001 - every handler is given one
    """200 whenever this process answers: one that does not is to be begun anew."""
    return JSONResponse({"status": "ok"}, headers=_FRESH_ONLY)


async def ready(request: Request) -> Response:
    """503 unless the ledger answers; Stripe and Keygen may be gone, and webhooks come in still."""
    answered, _ = await _try(request.app.state.shop.ledger.bookmark())
    # It serves while it is filled: a restore that was cut off comes again over HTTP.
    well = answered in ("ok", "ledger-half-restored")
    report = {"status": "ok" if well else "failing", "checks": {"ledger": answered}}
    return JSONResponse(report, 200 if well else 503, headers=_FRESH_ONLY)


async def health(request: Request) -> Response:
    """503 unless the ledger, Stripe and Keygen answer and no event waits too long."""
    report = await request.app.state.health.report()
    status = 200 if report["status"] == "ok" else 503
    if status != 200:
        _LOG.info("unwell", **report["checks"])
    return JSONResponse(report, status, headers=_FRESH_ONLY)


async def metrics(request: Request) -> Response:
    """For Prometheus: with the token, or from this machine where none is set."""
    shop: Shop = request.app.state.shop
    tokens, client = shop.settings.metrics_tokens, request.client
    given = request.headers.get("authorization", "").encode()
    if tokens:
        # Every one of them, so that the time tells nothing.
        matches = [hmac.compare_digest(given, f"Bearer {one}".encode()) for one in tokens]
        allowed = any(matches)
    else:
        allowed = client is not None and client.host in _LOOPBACK
    if not allowed:
        raise VisitError("metrics-refused", "These figures are not public.")
    meters: Meters = request.app.state.meters
    stock = await shop.ledger.take_stock()
    return Response(meters.written(stock, shop.now()), media_type=CONTENT_TYPE_LATEST)
