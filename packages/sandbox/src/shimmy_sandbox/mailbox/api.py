"""The mail API as an ASGI app: one request, one message, and for one key only once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from shimmy_sandbox.mailbox.drafts import compose
from shimmy_sandbox.mailbox.identity import API_KEY
from shimmy_sandbox.mailbox.messages import Mailbox
from shimmy_sandbox.mailbox.refusals import RefusalError, wrong
from shimmy_sandbox.mailbox.smtp_faults import checked_times
from shimmy_sandbox.simulation.clock import SimulatedClock
from shimmy_sandbox.simulation.exchange import Outgoing, read_body

_LOG = logging.getLogger(__name__)
_KEYS_KEPT: Final = timedelta(hours=24)
_LONGEST_KEY: Final = 256
_FORCED: Mapping[str, tuple[int, str]] = {
    "rate_limit_exceeded": (429, "Too many requests."),
    "daily_quota_exceeded": (429, "The mails of this day are used up."),
    "monthly_quota_exceeded": (429, "The mails of this month are used up."),
    "internal_server_error": (500, "An unexpected error occurred."),
}


@dataclass(frozen=True, slots=True)
class Forced:
    """An error on request: ``name`` for so many requests (-1: all); nothing is kept meanwhile."""

    name: str
    times: int = 1
    retry_after: int | None = None


def parse_forced(data: Any) -> Forced:
    """An error on request from JSON; ValueError says what is wrong."""
    known = Forced.__slots__
    if not isinstance(data, dict) or set(data) - set(known):
        raise ValueError(f"an answer is an object with some of {sorted(known)}")
    if data.get("name") not in tuple(_FORCED):
        raise ValueError(f"name must be one of {list(_FORCED)}")
    # Resend always says how long a burst has to wait, and not when a quota is renewed.
    after = data.get("retry_after", 1 if data["name"] == "rate_limit_exceeded" else None)
    if after is not None and (type(after) is not int or after < 0):
        raise ValueError("retry_after must be a whole number of seconds")
    return Forced(data["name"], checked_times(data.get("times", 1)), after)


@dataclass(frozen=True, slots=True)
class KeptReply:
    """What a key's first request asked for, and the id it was answered."""

    fingerprint: str
    id: str
    since: datetime


@dataclass(slots=True)
class MailApi:
    """Answers in the event loop; waiting never holds others up.

    ``thinking`` seconds pass between the acceptance of a request and its work, so that tests can
    send another one with the same key meanwhile. ``forced`` are errors on request.
    """

    mailbox: Mailbox
    clock: SimulatedClock
    thinking: float = 0.0
    forced: list[Forced] = field(default_factory=list)
    _kept: dict[str, KeptReply] = field(default_factory=dict)
    _in_use: set[str] = field(default_factory=set)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if body is None:
            return
        answer = await self._answer(scope, body)
        headers = [(n.lower().encode(), v.encode("latin-1")) for n, v in answer.headers.items()]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, body: bytes) -> Outgoing:
        headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in scope["headers"]}
        try:
            _check_place(scope["method"], scope["path"])
            _check_key(headers.get("authorization", ""))
            self._fail_on_request()
            identifier = await self._sent(headers.get("idempotency-key"), body)
        except RefusalError as refused:
            after = refused.retry_after
            more = {} if after is None else {"Retry-After": str(after)}
            return _written(refused.status, refused.body, more)
        except Exception:  # noqa: BLE001 - a client must get an answer, the log says why
            _LOG.exception("the sandbox itself failed")
            message = "This sandbox itself failed: see its log."
            failed = RefusalError.of(500, "internal_server_error", message)
            return _written(failed.status, failed.body, {})
        return _written(200, {"id": identifier}, {})

    def _fail_on_request(self) -> None:
        if not self.forced:
            return
        first = self.forced[0]
        if first.times == 1:
            del self.forced[0]
        elif first.times > 1:
            self.forced[0] = replace(first, times=first.times - 1)
        status, message = _FORCED[first.name]
        raise RefusalError.of(status, first.name, message, first.retry_after)

    async def _sent(self, key: str | None, body: bytes) -> str:
        """The id of the message that ``body`` asked for, now or when ``key`` was used first."""
        if key is None:
            await asyncio.sleep(self.thinking)
            return self._keep(_document(body), None)
        if not 1 <= len(key) <= _LONGEST_KEY:
            message = f"An idempotency key has 1 to {_LONGEST_KEY} characters."
            raise RefusalError.of(400, "invalid_idempotency_key", message)
        if key in self._in_use:
            message = "Another request with this idempotency key is still being answered."
            raise RefusalError.of(409, "concurrent_idempotent_requests", message)
        self._in_use.add(key)
        try:
            await asyncio.sleep(self.thinking)
            return self._once(key, _document(body))
        finally:
            self._in_use.discard(key)

    def _once(self, key: str, document: Mapping[str, Any]) -> str:
        now = self.clock.now()
        self._kept = {
            name: reply for name, reply in self._kept.items() if now - reply.since < _KEYS_KEPT
        }
        written = json.dumps(document, sort_keys=True)
        fingerprint = hashlib.sha256(written.encode()).hexdigest()
        kept = self._kept.get(key)
        if kept is None:
            kept = KeptReply(fingerprint, self._keep(document, key), now)
            self._kept[key] = kept
        elif kept.fingerprint != fingerprint:
            message = "This idempotency key was used for a request with another body."
            raise RefusalError.of(409, "invalid_idempotent_request", message)
        return kept.id

    def _keep(self, document: Mapping[str, Any], key: str | None) -> str:
        message = compose(document, str(uuid.uuid4()), key, self.clock.now())
        self.mailbox.keep(message)
        return message.id


def _check_place(method: str, path: str) -> None:
    if path != "/emails":
        raise RefusalError.of(404, "not_found", f"There is no {path} in this sandbox.")
    if method != "POST":
        message = f"{method} is not simulated by this sandbox, only POST."
        raise RefusalError.of(405, "method_not_allowed", message)


def _check_key(header: str) -> None:
    scheme, _, given = header.partition(" ")
    given = given.strip()
    if scheme.lower() != "bearer" or not given:
        message = "There is no API key in the Authorization header: give `Bearer YOUR_API_KEY`."
        raise RefusalError.of(401, "missing_api_key", message)
    if given == API_KEY:
        return
    message = "API key is invalid"
    if given.startswith("re_"):
        message = (
            "API key is invalid: A REAL KEY MAY HAVE BEEN SENT TO A SANDBOX. It was not kept; "
            "check what made your program send it here, and replace the key if in doubt."
        )
    raise RefusalError.of(403, "invalid_api_key", message)


def _document(body: bytes) -> Mapping[str, Any]:
    """The JSON object sent; 400 for anything else, and for text that nothing can write."""
    try:
        document = json.loads(body)
        # Escapes can spell half of a surrogate pair.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as problem:
        raise wrong("The body is not valid JSON.", 400) from problem
    if not isinstance(document, dict):
        raise wrong("The body is not a JSON object.", 400)
    return document


def _written(status: int, body: Mapping[str, Any], more: Mapping[str, str]) -> Outgoing:
    headers = {"Content-Type": "application/json", "Shimmy-Sandbox": "not for production", **more}
    return Outgoing(status, headers, json.dumps(body, ensure_ascii=False).encode())
