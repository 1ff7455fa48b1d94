"""The ``/_sim`` endpoints that every simulator has: clock, faults, requests seen."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shimmy_sandbox.simulation.clock import SimulatedClock
from shimmy_sandbox.simulation.faults import FaultPlan, parse_fault

_REMEMBERED = 1000


@dataclass(slots=True)
class Controls:
    """What a test or an operator may turn on a running simulator."""

    clock: SimulatedClock = field(default_factory=SimulatedClock)
    faults: FaultPlan = field(default_factory=FaultPlan)
    seen: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def routes(self) -> Sequence[Route]:
        """Starlette routes below ``/_sim``."""
        return (
            Route("/_sim/clock", self._clock, methods=["GET", "POST"]),
            Route("/_sim/faults", self._faults, methods=["GET", "POST", "DELETE"]),
            Route("/_sim/requests", self._requests, methods=["GET", "DELETE"]),
        )

    async def _clock(self, request: Request) -> JSONResponse:
        if request.method == "POST":
            try:
                self._move(json.loads(await request.body()))
            except (ValueError, TypeError, OverflowError) as error:
                return _refused(error)
        return JSONResponse({"now": self.clock.now().isoformat()})

    def _move(self, order: Any) -> None:
        match order:
            case {"now": str(moment)}:
                self.clock.set(datetime.fromisoformat(moment))
            case {"frozen": str(moment)}:
                self.clock.freeze(datetime.fromisoformat(moment))
            case {"advance_seconds": int() | float() as seconds}:
                self.clock.advance(timedelta(seconds=seconds))
            case {"reset": True}:
                self.clock.reset()
            case _:
                raise ValueError("give one of now, frozen, advance_seconds, reset")

    async def _faults(self, request: Request) -> JSONResponse:
        if request.method == "DELETE":
            self.faults.clear()
        if request.method == "POST":
            try:
                self.faults.add(parse_fault(json.loads(await request.body())))
            except (ValueError, TypeError) as error:
                return _refused(error)
        return JSONResponse({"faults": [asdict(fault) for fault in self.faults.waiting()]})

    async def _requests(self, request: Request) -> JSONResponse:
        if request.method == "DELETE":
            self.seen.clear()
        return JSONResponse({"requests": list(self.seen)})


class RecordingApp:
    """ASGI middleware that remembers method, path and status of what was answered.

    Status None is a request that got no answer. Headers, queries and bodies are
    not kept; a path may name a licence by its key, which in a sandbox is worth nothing.
    """

    def __init__(self, app: ASGIApp, controls: Controls) -> None:
        self._app = app
        self._controls = controls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_sim"):
            await self._app(scope, receive, send)
            return
        seen = {"method": scope["method"], "path": scope["path"], "status": None}
        self._controls.seen.append(seen)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen["status"] = message["status"]
            await send(message)

        await self._app(scope, receive, noting)


def _refused(error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=400)
