"""Serves the licence server on loopback, its state in one SQLite file."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from shimmy_sandbox.keygen.app import KeygenApp
from shimmy_sandbox.keygen.authentication import token_digest
from shimmy_sandbox.keygen.database import Database
from shimmy_sandbox.keygen.identity import (
    ACCOUNT_ID,
    ACCOUNT_SLUG,
    ADMIN_ID,
    ADMIN_TOKEN,
    PRODUCT_ID,
)
from shimmy_sandbox.keygen.rate_limit import RateLimiter
from shimmy_sandbox.keygen.signing import SigningKey
from shimmy_sandbox.keygen.wire import written_time
from shimmy_sandbox.simulation.controls import Controls, RecordingApp
from shimmy_sandbox.simulation.faults import FaultyApp
from shimmy_sandbox.simulation.loopback import Served, serve_on_loopback


@dataclass(frozen=True, slots=True)
class KeygenServer(Served):
    """A running licence server."""

    public_key: str
    """64 hex digits."""
    account: str = ACCOUNT_ID
    product: str = PRODUCT_ID
    """The shop's product; it exists once the shop is stocked."""
    admin_token: str = ADMIN_TOKEN
    """Fixed and published: no secret."""


@contextmanager
def serve_keygen(
    path: Path | str, port: int = 0, controls: Controls | None = None
) -> Iterator[KeygenServer]:
    """Serve the state in ``path`` (``":memory:"``: none) on 127.0.0.1 until the block ends.

    Account and admin token exist from the start, the rest comes through the API.
    Raises StateError for a file that is no state of the sandbox, OSError for a port in use.
    """
    controls = controls or Controls()
    database = Database(path)
    try:
        with database.transaction():
            _open_account(database, controls.clock.now())
        key, limiter = SigningKey(), RateLimiter()
        keygen = KeygenApp(database, controls.clock, key, limiter)
        answering = RecordingApp(FaultyApp(keygen, controls.faults), controls)
        limits = Route("/_sim/rate-limit", _limits(limiter), methods=["GET", "POST"])
        routes: Sequence[Route | Mount] = (*controls.routes(), limits, Mount("/", answering))
        with serve_on_loopback(Starlette(routes=routes), port) as loopback:
            yield KeygenServer(loopback, controls, key.public_hex)
    finally:
        database.close()


def _open_account(database: Database, now: datetime) -> None:
    if database.by_id("accounts", ACCOUNT_ID) is not None:
        return
    stamps = {"created": written_time(now), "updated": written_time(now)}
    database.insert("accounts", {"id": ACCOUNT_ID, "slug": ACCOUNT_SLUG, **stamps})
    token = {"id": ADMIN_ID, "kind": "admin", "bearer_id": ADMIN_ID, "name": "sandbox admin"}
    database.insert("tokens", {**token, "digest": token_digest(ADMIN_TOKEN), **stamps})


def _limits(limiter: RateLimiter) -> Callable[[Request], Awaitable[JSONResponse]]:
    async def answer(request: Request) -> JSONResponse:
        if request.method == "POST":
            match json.loads(await request.body()):
                case {"requests_per_minute": int() as limit} if limit >= 0:
                    limiter.limit = limit
                case _:
                    problem = "give requests_per_minute, a whole number"
                    return JSONResponse({"error": problem}, status_code=400)
        return JSONResponse({"requests_per_minute": limiter.limit})

    return answer
