"""What holds for every request: who may ask, from where, how much and how slowly; one log line."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shimmy_vision.domain.serving.private_words import is_request_id
from shimmy_vision.errors import BusyError, ShimmyError, UsageError
from shimmy_vision.ports.tracing import Span, Tracer, Untraced
from shimmy_vision.server.logs import log_context, logger_of
from shimmy_vision.server.meters import Meters
from shimmy_vision.server.pace import Pace
from shimmy_vision.server.problems import crash_error, error_response
from shimmy_vision.server.waiting_line import stopping_error

_LOG = logger_of("shimmy_vision.requests")
# Nobody was there any more to take the answer.
_GONE = 499
_LINGER_SECONDS = 2.0
# Probes carry no key; neither page nor description says anything of this machine.
_OPEN_PATHS = frozenset({"/health", "/ready", "/docs", "/openapi.json"})
_OPEN_PREFIX = "/docs/"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WS"})
_BEGINNINGS = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start"}
)
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class GuardRules:
    """``api_keys`` are SHA-256 digests; with none of them anybody who reaches the server may ask,

    but only under one of ``hosts``: else a web page could, by a name that it points here.
    ``origins`` are those of web pages that may ask; ``max_body`` in bytes, ``patience`` in seconds
    between two pieces of a body, ``head_seconds`` for a request's head, ``unread_seconds`` for a
    client to take anything of its answer. ``connections`` may be open, of them ``sockets``
    WebSockets.
    """

    api_keys: tuple[bytes, ...] = field(default=(), repr=False)
    hosts: Collection[str] = ("localhost", "127.0.0.1", "[::1]")
    origins: Collection[str] = ()
    max_body: int = 300_000_000
    patience: float = 30.0
    head_seconds: float = 15.0
    unread_seconds: float = 30.0
    connections: int = 500
    sockets: int = 64


class Guard:
    """ASGI middleware, outermost but for CORS; for HTTP and WebSocket."""

    def __init__(
        self, app: ASGIApp, rules: GuardRules, meters: Meters, tracer: Tracer | None = None
    ) -> None:
        self._app, self._rules, self._meters = app, rules, meters
        self._tracer = tracer or Untraced()
        self._sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        # As a proxy before us named it, if that name tells nothing else.
        identifier = given if is_request_id(given) else uuid.uuid4().hex
        traced = self._tracer.answer("request", headers.get("traceparent", ""))
        serve = self._http if scope["type"] == "http" else self._socket
        with log_context(request_id=identifier), traced as span:
            span.note({"shimmy.request_id": identifier})
            await serve(scope, receive, _Named(send, identifier), span)

    async def _http(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        began = time.perf_counter()
        body = _Measured(scope, receive, self._rules)
        answer = _Answer(send, body)
        try:
            self._admit(scope)
            await self._app(scope, body, answer)
        except ShimmyError as error:
            await answer.instead(error, scope, receive)
        except ClientDisconnect:
            answer.status = _GONE
        except asyncio.CancelledError:
            # The server has no time left: who heard nothing yet is told.
            if answer.started:
                raise
            body.hurried = True
            await answer.instead(stopping_error(), scope, receive)
        except Exception:  # noqa: BLE001 - whatever it is, the client gets an answer
            _LOG.exception("request-failed")
            await answer.instead(crash_error(), scope, receive)
        finally:
            self._note(scope, answer.status, time.perf_counter() - began, span)

    async def _socket(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        began = time.perf_counter()
        told = _SocketAnswer(scope, receive, send)
        try:
            self._admit(scope)
            with self._one_socket_more():
                await self._app(scope, receive, told)
        except ShimmyError as error:
            await told.refuse(error)
        finally:
            self._note(scope, told.status, time.perf_counter() - began, span)

    @contextmanager
    def _one_socket_more(self) -> Iterator[None]:
        if self._sockets >= self._rules.sockets:
            raise BusyError(
                "sockets-too-many",
                f"{self._sockets} WebSockets are open.",
                hint="One takes many analyses: keep it, or ask by HTTP.",
                retry_after=5.0,
            )
        self._sockets += 1
        try:
            yield
        finally:
            self._sockets -= 1

    def _admit(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        # The Unix socket's file decides who reaches it: nobody but its owner.
        if is_local_socket(scope):
            return
        host = headers.get("host", "")
        self._check_origin(headers.get("origin"), host)
        if self._rules.api_keys:
            self._check_key(scope, headers)
        elif _name_of(host) not in self._rules.hosts:
            raise UsageError(
                "host-refused",
                "The server is not asked under its own name.",
                hint="Use http://127.0.0.1, or start it with --allow-host NAME.",
            )

    def _check_origin(self, origin: str | None, host: str) -> None:
        own = {f"http://{host}", f"https://{host}"}
        if origin is not None and origin not in own and origin not in self._rules.origins:
            raise UsageError(
                "origin-refused",
                "Web pages of other sites may not ask this server.",
                hint="Start it with --cors-origin and the page's origin to allow it.",
            )

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        path = scope["path"]
        if path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX) or scope.get("method") == "OPTIONS":
            return
        scheme, _, token = headers.get("authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        if not given:
            raise UsageError(
                "api-key-missing",
                "This server wants an API key.",
                hint="Send the header: Authorization: Bearer KEY",
            )
        digest = digest_key(given)
        # All of them, whichever fits: time tells nothing.
        if not sum(hmac.compare_digest(digest, one) for one in self._rules.api_keys):
            raise UsageError("api-key-wrong", "The API key is not one of this server's.")

    def _note(self, scope: Scope, status: int, seconds: float, span: Span) -> None:
        # The route's name, never the path or query: they may hold what only the client knows.
        route = scope.get("route")
        endpoint = getattr(route, "name", None) or "none"
        # Anything else is the client's own word, as long as it likes.
        method = scope.get("method", "WS")
        method = method if method in _METHODS else "other"
        self._meters.requests.labels(endpoint, status).inc()
        self._meters.request_seconds.labels(endpoint).observe(seconds)
        span.rename(f"{method} {endpoint}")
        facts = {"http.request.method": method, "http.route": endpoint}
        span.note({**facts, "http.response.status_code": status})
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.fail(f"http-{status}")
        milliseconds = round(seconds * 1000, 1)
        _LOG.info(
            "request", endpoint=endpoint, method=method, status=status, milliseconds=milliseconds
        )


def digest_key(key: str) -> bytes:
    """What is kept of an API key."""
    return hashlib.sha256(key.encode()).digest()


def is_local_socket(scope: Scope) -> bool:
    """Whether the request came through the Unix socket."""
    server = scope.get("server")
    return server is not None and server[1] is None


def _name_of(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].lower()


class _Named:
    """Every answer, and a WebSocket that is opened, carries the request's id."""

    def __init__(self, send: Send, identifier: str) -> None:
        self._send, self._identifier = send, identifier

    async def __call__(self, message: Message) -> None:
        if message["type"] in _BEGINNINGS:
            message.setdefault("headers", [])
            MutableHeaders(scope=message)["X-Request-Id"] = self._identifier
        await self._send(message)


class _SocketAnswer:
    """What goes out through a WebSocket; one that is never opened is told why in our shape."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self.status = _GONE

    async def __call__(self, message: Message) -> None:
        opened = self.status == HTTPStatus.SWITCHING_PROTOCOLS
        if message["type"] == "websocket.accept":
            self.status = int(HTTPStatus.SWITCHING_PROTOCOLS)
        elif message["type"] == "websocket.close" and not opened:
            # Only the router closes what nobody accepted: there is no such path.
            await self.refuse(
                UsageError("path-unknown", "No WebSocket is at this address.", hint="See /docs.")
            )
            return
        await self._send(message)

    async def refuse(self, error: ShimmyError) -> None:
        """Instead of opening it."""
        response = error_response(error)
        self.status = response.status_code
        if "websocket.http.response" in self._scope.get("extensions", {}):
            await response(self._scope, self._receive, self._send)
        else:
            await self._send({"type": "websocket.close", "code": 1008, "reason": error.code})


class _Answer:
    """What goes out: with our headers, and its status remembered."""

    def __init__(self, send: Send, body: _Measured) -> None:
        self._send, self._body = send, body
        self.started = False
        self.status = _GONE

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            await self._body.linger()
            if not self._body.whole:
                # Else whoever sends on and on keeps the connection after the answer.
                headers["Connection"] = "close"
        await self._send(message)

    async def instead(self, error: ShimmyError, scope: Scope, receive: Receive) -> None:
        """An error's answer, unless another has begun."""
        if not self.started:
            await error_response(error)(scope, receive, self)


class _Measured:
    """A body that may be neither too long nor too slow."""

    def __init__(self, scope: Scope, receive: Receive, rules: GuardRules) -> None:
        self._receive, self._patience = receive, rules.patience
        self._most, self._left = rules.max_body, rules.max_body
        self._pace: Pace | None = None
        self.hurried = False
        headers = Headers(scope=scope)
        self.whole = headers.get("content-length", "0") == "0" and (
            "transfer-encoding" not in headers
        )

    async def __call__(self) -> Message:
        if self.whole:
            return await self._receive()
        now = time.monotonic()
        if self._pace is None:
            self._pace = Pace(self._patience, now)
        try:
            async with asyncio.timeout(self._pace.left(now)):
                message: dict[str, Any] = dict(await self._receive())
        except TimeoutError as error:
            self.hurried = True
            raise UsageError(
                "body-too-slow", "The request's body did not arrive in time.", retryable=True
            ) from error
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            self._pace.hear(count)
            self._left -= count
            self.whole = not message.get("more_body", False)
            if self._left < 0:
                raise UsageError(
                    "body-too-large", f"A request may have {self._most / 1e6:g} MB at most."
                )
        return message

    async def linger(self) -> None:
        """Throw away what still comes for a moment: who is cut off while sending sees no answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(0 if self.hurried else _LINGER_SECONDS):
                while not self.whole:
                    message = await self._receive()
                    if message["type"] != "http.request":
                        return
                    self.whole = not message.get("more_body", False)
