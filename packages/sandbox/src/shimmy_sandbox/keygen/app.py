"""The licence server as an ASGI app: one request is one transaction and one signed reply."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn
from urllib.parse import parse_qsl, unquote

from starlette.types import Receive, Scope, Send

from shimmy_sandbox.keygen.authentication import identify
from shimmy_sandbox.keygen.call import Bearer, Call, Reply
from shimmy_sandbox.keygen.database import Database, Row
from shimmy_sandbox.keygen.heartbeats import remove_dead_machines
from shimmy_sandbox.keygen.rate_limit import Allowance, RateLimiter
from shimmy_sandbox.keygen.routes import Handler, handler_for
from shimmy_sandbox.keygen.signing import (
    Exchange,
    SigningKey,
    signature_headers,
    unacceptable_signature,
)
from shimmy_sandbox.keygen.wire import MEDIA_TYPE, WireError, not_found, refusal
from shimmy_sandbox.simulation.clock import SimulatedClock
from shimmy_sandbox.simulation.exchange import Outgoing, read_body

_API_VERSION = "1.8"
_KNOWN_VERSIONS = ("1.7", "1.8")
_BAD_JSON = (
    "The request could not be completed because it contains invalid JSON "
    "(check formatting/encoding)"
)
_BAD_TEXT = (
    "The request could not be completed because it contains an invalid byte sequence "
    "(check encoding)"
)
_NO_ROUTE = (
    "The requested endpoint was not found (check your HTTP method, Accept header, and URL path)"
)
_SLOW_DOWN = "Throttle limit has been reached for your IP address. Please slow down."


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as it came: nothing decoded, header names in lower case."""

    method: str
    raw_path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    address: str

    @property
    def exchange(self) -> Exchange:
        """What of it is signed."""
        target = f"{self.raw_path}?{self.query}" if self.query else self.raw_path
        return Exchange(self.method, target, self.headers.get("host", ""))


@dataclass(slots=True)
class KeygenApp:
    """Answers in the event loop, one request after the other: the one connection is never shared.

    Waiting faults wait outside, so they hold nobody else up.
    """

    database: Database
    clock: SimulatedClock
    key: SigningKey = field(default_factory=SigningKey)
    limiter: RateLimiter = field(default_factory=RateLimiter)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(receive)
        if body is None:
            return
        answer = self.answer(_incoming(scope, body))
        headers = [
            (name.lower().encode(), value.encode("latin-1", "replace"))
            for name, value in answer.headers.items()
        ]
        if answer.status != 204:
            headers.append((b"content-length", str(len(answer.body)).encode()))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.body})

    def answer(self, request: Incoming) -> Outgoing:
        """The reply to one request; whatever it changed is committed by then."""
        now = self.clock.now()
        segments = [unquote(part) for part in request.raw_path.strip("/").split("/")]
        named, below = _account_and_rest(segments)
        credential = request.headers.get("authorization", "").partition(" ")[2]
        allowance = self.limiter.take(request.address, named or "", credential, now)
        if allowance.exceeded:
            return _throttled(allowance)
        try:
            body = _parsed(request)
        except WireError as refused:
            return _unsigned(refused, allowance)
        route = handler_for(request.method, below) if segments[0] == "v1" else None
        if route is None:
            return _unsigned(refusal(404, _NO_ROUTE, "NOT_FOUND"), allowance)
        account = self._account(named)
        if account is None:
            return _unsigned(not_found("account", named or ""), allowance)
        call = Call(
            database=self.database,
            account=account,
            key=self.key,
            bearer=Bearer("anonymous"),
            now=now,
            location=request.raw_path,
            path=route[1],
            query=tuple(parse_qsl(request.query, keep_blank_values=True)),
            body=body,
        )
        return self._signed(request, call, route[0], allowance)

    def _account(self, named: str | None) -> Row | None:
        if named is None:
            return self.database.one("SELECT * FROM accounts")
        return self.database.one("SELECT * FROM accounts WHERE ? IN (id, slug)", named.lower())

    def _signed(
        self, request: Incoming, call: Call, handler: Handler, allowance: Allowance
    ) -> Outgoing:
        account = str(call.account["id"])
        asked = request.headers.get("keygen-accept-signature")
        objection = unacceptable_signature(asked, account)
        if objection is not None:
            # Keygen leaves out the signature it cannot make.
            return _unsigned(refusal(400, objection), allowance)
        reply, bearer = self._handled(request, call, handler)
        body = _encoded(reply)
        headers = {
            **allowance.headers,
            **_standing_headers(request, call, bearer),
            **_absolute(reply.headers, request),
            **signature_headers(self.key, account, request.exchange, body, call.now),
        }
        if not body and "Content-Type" in headers:
            del headers["Content-Type"]
        return Outgoing(reply.status, headers, body)

    def _handled(self, request: Incoming, call: Call, handler: Handler) -> tuple[Reply, Bearer]:
        bearer = call.bearer
        try:
            _check_version(request)
            with self.database.transaction():
                remove_dead_machines(self.database, call.now)
                header = request.headers.get("authorization")
                bearer = identify(self.database, header, call.now)
                return handler(replace(call, bearer=bearer)), bearer
        except WireError as refused:
            return _refused(refused, request), bearer


def _incoming(scope: Scope, body: bytes) -> Incoming:
    client = scope.get("client") or ("", 0)
    return Incoming(
        method=scope["method"],
        raw_path=scope["raw_path"].decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers={
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        },
        body=body,
        address=client[0],
    )


def _account_and_rest(segments: Sequence[str]) -> tuple[str | None, Sequence[str]]:
    """The account named in the path, if one is, and the path below it."""
    below = segments[1:]
    if len(below) > 1 and below[0] == "accounts":
        return below[1], below[2:] or [""]
    return None, below


def _parsed(request: Incoming) -> Mapping[str, Any]:
    """The document sent; 400 for what is no JSON object or holds text that nothing can keep."""
    if not request.body.strip() or request.method == "GET":
        return {}
    try:
        body = json.loads(request.body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise refusal(400, _BAD_JSON, "JSON_INVALID")
    text = json.dumps(body, ensure_ascii=False).replace(r"\\", "")
    # Escapes can spell half of a surrogate pair, or a zero byte.
    if "\\u0000" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise refusal(400, _BAD_TEXT, "ENCODING_INVALID")
    return body


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)


def _check_version(request: Incoming) -> None:
    version = request.headers.get("keygen-version", _API_VERSION).removeprefix("v")
    if version not in _KNOWN_VERSIONS:
        raise refusal(400, "unsupported API version requested", "INVALID_API_VERSION")


def _encoded(reply: Reply) -> bytes:
    if reply.text is not None:
        return reply.text.encode()
    if reply.document is None:
        return b""
    return json.dumps(reply.document, ensure_ascii=False, separators=(",", ":")).encode()


def _standing_headers(request: Incoming, call: Call, bearer: Bearer) -> dict[str, str]:
    accepts = request.headers.get("accept", "")
    plain = "application/json" in accepts and MEDIA_TYPE not in accepts
    headers = {
        "Content-Type": f"{'application/json' if plain else MEDIA_TYPE}; charset=utf-8",
        "Cache-Control": "no-transform, no-store, max-age=0",
        "X-Request-Id": str(uuid.uuid4()),
        "Keygen-Account": call.account["id"],
        "Keygen-Version": _API_VERSION,
        "Keygen-Edition": "CE",
        "Keygen-Mode": "singleplayer",
        "Shimmy-Sandbox": "not for production",
    }
    if bearer.id is not None:
        headers["Keygen-Bearer"] = bearer.id
    if bearer.token is not None:
        headers["Keygen-Token"] = bearer.token["id"]
    return headers


def _absolute(headers: Mapping[str, str], request: Incoming) -> Mapping[str, str]:
    """``headers`` with a Location that names the host the client asked."""
    if "Location" not in headers:
        return headers
    return {**headers, "Location": f"http://{request.exchange.host}{headers['Location']}"}


def _refused(refused: WireError, request: Incoming) -> Reply:
    headers = {}
    if refused.status == 401:
        scheme = request.headers.get("authorization", "").partition(" ")[0].capitalize()
        headers["WWW-Authenticate"] = f'{scheme or "Bearer"} realm="keygen"'
    document = {"meta": {"id": str(uuid.uuid4())}, "errors": refused.errors}
    return Reply(refused.status, document, headers)


def _unsigned(refused: WireError, allowance: Allowance) -> Outgoing:
    headers = {"Content-Type": f"{MEDIA_TYPE}; charset=utf-8", **allowance.headers}
    body = json.dumps({"errors": refused.errors}, separators=(",", ":")).encode()
    return Outgoing(refused.status, headers, body)


def _throttled(allowance: Allowance) -> Outgoing:
    headers = {
        "Content-Type": f"{MEDIA_TYPE}; charset=utf-8",
        **allowance.headers,
        "Retry-After": str(allowance.retry_after),
    }
    errors = [{"title": "Too many requests", "detail": _SLOW_DOWN, "code": "TOO_MANY_REQUESTS"}]
    return Outgoing(429, headers, json.dumps({"errors": errors}).encode())
