"""The store as a Cloudflare Worker: requests through ASGI, and the work behind them on a clock.

Settings are the Worker's variables and secrets; the ledger is its D1 database. What can be kept
between requests is opened once an isolate, on the first request or the first tick.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asgi
from pyodide.ffi import create_proxy
from workers import Response, WorkerEntrypoint

from shimmy_store.errors import StoreError
from shimmy_store.server.logs import logger_of, start_logging
from shimmy_store.server.worker_host import WorkerHost
from shimmy_store.settings import read_settings, variables_of
from shimmy_store.wiring.worker import open_ledger, open_worker_shop

# As it stands under "triggers" in wrangler.jsonc; the other one comes every minute.
RECONCILING = "*/15 * * * *"

start_logging()
_LOG = logger_of("shimmy_store.worker")


class Isolate:
    """What one isolate keeps. A host that could not be opened is tried again the next time."""

    def __init__(self) -> None:
        self._host: WorkerHost | None = None

    async def host(self, env: Any) -> WorkerHost:
        """Raises StoreError where settings are wrong or the ledger does not answer."""
        if self._host is None:
            settings = read_settings(variables_of(env), "worker")
            shop = await open_worker_shop(settings, open_ledger(settings, env))
            # Two first requests may both get here: either host is as good.
            self._host = WorkerHost(shop)
        return self._host


ISOLATE = Isolate()


class Default(WorkerEntrypoint):
    """What the runtime calls."""

    async def fetch(self, request: Any) -> Any:
        """Answer, then go on with what the answer left to do."""
        try:
            host = await ISOLATE.host(self.env)
        except StoreError as error:
            return _not_open(error)
        answer = await asgi.fetch(host, request, self.env, self.ctx)
        if host.was_woken():
            self._go_on(host)
        return answer

    def _go_on(self, host: WorkerHost) -> None:
        """Cut off anywhere it has lost nothing: the next tick finds what is left."""
        task = asyncio.ensure_future(host.work_off())
        promised = create_proxy(task)
        task.add_done_callback(lambda _: promised.destroy())
        self.ctx.waitUntil(promised)

    async def scheduled(self, controller: Any, *_: Any) -> None:
        """A tick of the clock."""
        try:
            host = await ISOLATE.host(self.env)
        except StoreError as error:
            _tell(error)
            return
        if controller.cron == RECONCILING:
            await host.reconcile()
        else:
            await host.tend()


def _not_open(error: StoreError) -> Any:
    """To whoever asks: only that it is our side. Stripe delivers again after a 503."""
    _tell(error)
    problem = {
        "type": f"urn:shimmy:problem:{error.code}",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "Something does not work on our side at the moment.",
        "code": error.code,
    }
    headers = {"Retry-After": "10", "Cache-Control": "no-store"}
    return Response.json(problem, status=503, headers=headers)


def _tell(error: StoreError) -> None:
    # Messages name variables and tables, and never what is in them.
    _LOG.info("not-open", code=error.code, told=error.message, hint=error.hint)
