"""The ``/_sim`` endpoints of the mailbox: what came, and what shall go wrong next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shimmy_sandbox.mailbox.api import MailApi, parse_forced
from shimmy_sandbox.mailbox.messages import Mailbox
from shimmy_sandbox.mailbox.smtp_faults import SmtpFaultPlan, parse_smtp_fault

_LONGEST_THOUGHT: Final = 60


@dataclass(frozen=True, slots=True)
class Steering:
    """What tests and operators turn, beside clock, faults and requests.

    ``GET messages?to=ADDRESS``    a list, oldest first; ``DELETE`` forgets all
    ``GET messages/{id}/raw``      one message as it was sent
    ``POST smtp``                  an ``SmtpFault``; ``GET`` lists them, ``DELETE`` clears them
    ``POST answers``               an error of the API (``Forced``); ``GET`` and ``DELETE`` too
    ``POST thinking``              ``{"seconds": N}`` between accepting a request and its work
    """

    mailbox: Mailbox
    smtp_faults: SmtpFaultPlan
    api: MailApi

    def routes(self) -> Sequence[Route]:
        """Starlette routes below ``/_sim``."""
        everything = ["GET", "POST", "DELETE"]
        return (
            Route("/_sim/messages", self._messages, methods=["GET", "DELETE"]),
            Route("/_sim/messages/{id}/raw", self._raw, methods=["GET"]),
            Route("/_sim/smtp", self._smtp, methods=everything),
            Route("/_sim/answers", self._answers, methods=everything),
            Route("/_sim/thinking", self._thinking, methods=["GET", "POST"]),
        )

    async def _messages(self, request: Request) -> JSONResponse:
        if set(request.query_params) - {"to"}:
            return _refused("only to can be asked for")
        if request.method == "DELETE":
            if request.query_params:
                return _refused("all messages are deleted or none: leave to out")
            self.mailbox.clear()
        found = self.mailbox.sent_to(request.query_params.get("to", ""))
        return JSONResponse([message.shown() for message in found])

    async def _raw(self, request: Request) -> Response:
        message = self.mailbox.get(request.path_params["id"])
        if message is None:
            return JSONResponse({"error": "no such message is kept"}, status_code=404)
        return Response(message.raw, media_type="message/rfc822")

    async def _smtp(self, request: Request) -> JSONResponse:
        if request.method == "DELETE":
            self.smtp_faults.clear()
        if request.method == "POST":
            try:
                self.smtp_faults.add(parse_smtp_fault(await _order(request)))
            except ValueError as problem:
                return _refused(str(problem))
        return JSONResponse({"faults": [asdict(fault) for fault in self.smtp_faults.waiting()]})

    async def _answers(self, request: Request) -> JSONResponse:
        if request.method == "DELETE":
            self.api.forced.clear()
        if request.method == "POST":
            try:
                self.api.forced.append(parse_forced(await _order(request)))
            except ValueError as problem:
                return _refused(str(problem))
        return JSONResponse({"answers": [asdict(forced) for forced in self.api.forced]})

    async def _thinking(self, request: Request) -> JSONResponse:
        if request.method == "POST":
            try:
                self.api.thinking = _thought(await _order(request))
            except ValueError as problem:
                return _refused(str(problem))
        return JSONResponse({"seconds": self.api.thinking})


def _thought(order: Any) -> float:
    match order:
        case {"seconds": int() | float() as seconds} if len(order) == 1:
            if not isinstance(seconds, bool) and 0 <= seconds <= _LONGEST_THOUGHT:
                return float(seconds)
    raise ValueError(f"give seconds, a number from 0 to {_LONGEST_THOUGHT}, and nothing else")


async def _order(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError as problem:
        raise ValueError(f"the body is not JSON: {problem}") from problem


def _refused(problem: str) -> JSONResponse:
    return JSONResponse({"error": problem}, status_code=400)
