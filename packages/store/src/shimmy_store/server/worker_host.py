"""The store on a host that lives only while it answers, as a Cloudflare Worker does.

An isolate keeps one of these. Requests run side by side in it, so nothing of one may end with
another's, and nothing waits for a lock that another request holds.
"""

from __future__ import annotations

import ipaddress
from collections import Counter

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shimmy_store.errors import StoreError
from shimmy_store.server.app import bare_app, furnish_app
from shimmy_store.server.health import HealthDesk
from shimmy_store.server.logs import logger_of
from shimmy_store.server.meters import Meters
from shimmy_store.use_cases.continue_reconciling import continue_reconciling
from shimmy_store.wiring import Shop

_LOG = logger_of(__name__)
# After an answer a Worker may go on for half a minute.
AFTER_ANSWER_SECONDS = 20.0
# A minute comes every minute; the next one is to find this one gone.
TENDING_SECONDS = 40.0
# A look is up to fifteen requests and about sixteen statements, a mail three and eight. One call of
# a Worker may send D1 a thousand statements, and what is above that fails half way.
MOST_LOOKS = 40
MOST_WORK = 30
# Cloudflare writes it itself, over whatever a visitor says.
_VISITOR = "cf-connecting-ip"


class WorkerHost:
    """An ASGI app whose lifespan is empty, and the work that other hosts do beside it."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        meters = Meters()
        self._app = bare_app(shop.settings, meters)
        furnish_app(self._app, shop, meters)
        # A lock that one request waits for and another one opens is not to be had here.
        self._app.state.health = HealthDesk(shop, queue=False)
        self._workroom = self._app.state.workroom

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _acknowledge(receive, send)
            return
        app: ASGIApp = self._app
        await app({**scope, "client": _visitor(scope)}, receive, send)

    def was_woken(self) -> bool:
        """Whether an answer since left something to do."""
        return bool(self._workroom.was_woken())

    async def work_off(self, seconds: float = AFTER_ANSWER_SECONDS) -> None:
        """Settle what is due and send mail; whatever fails is told, and tried again later."""
        await self._workroom.work_off(seconds, MOST_WORK)

    async def tend(self) -> None:
        """Every minute: what nobody went on with, and what waits for too long."""
        await self._workroom.work_off(TENDING_SECONDS, MOST_WORK)
        await self._workroom.watch()

    async def reconcile(self) -> None:
        """Now and then: forget what is old, and look at the next customers, one after the other."""
        await self._workroom.clean()
        counts = Counter[str]()
        try:
            async for looked in continue_reconciling(self._shop.fulfilment, MOST_LOOKS):
                counts[looked.outcome] += 1
        except StoreError as error:
            _LOG.info("reconciling-failed", code=error.code)
        _LOG.info("reconciled", **counts)


async def _acknowledge(receive: Receive, send: Send) -> None:
    """Nothing opens or closes with a request."""
    message: Message = await receive()
    while message["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
        message = await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _visitor(scope: Scope) -> tuple[str, int] | None:
    """Whom the limits count: without it everybody would be one visitor."""
    said = Headers(scope=scope).get(_VISITOR, "")
    try:
        return str(ipaddress.ip_address(said)), 0
    except ValueError:
        return None
