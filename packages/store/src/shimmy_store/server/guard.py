"""What holds for every request: headers, sizes, patience, no other site's forms, one log line."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shimmy_store.domain.admission import BUSY_SECONDS, Kind, decide_admission
from shimmy_store.domain.private_words import is_request_id
from shimmy_store.errors import VisitError
from shimmy_store.ports.tracing import Span, Tracer, Untraced
from shimmy_store.server.logs import log_context, logger_of
from shimmy_store.server.meters import Meters
from shimmy_store.server.problems import REQUEST_ID, answer_crash, answer_error
from shimmy_store.settings import Settings

_LOG = logger_of("shimmy_store.requests")
_MOST_BYTES = 64 * 1024
# Stripe's events stay far below; refusing one would lose it.
_MOST_EVENT_BYTES = 2 * 1024 * 1024
# A whole ledger; the operator's token is looked at before any of it is read.
_MOST_DUMP_BYTES = 2 * 1024 * 1024 * 1024
_PATIENCE_SECONDS = 15.0
_DUMP_PATIENCE_SECONDS = 3600.0
_WEBHOOK = "/stripe-webhook"
_RESTORE = "/operator/restore"
_MOST: Mapping[str, int] = {_WEBHOOK: _MOST_EVENT_BYTES, _RESTORE: _MOST_DUMP_BYTES}
# Nobody was there any more to take the answer.
_GONE = 499
_HEALTH = ("/alive", "/ready", "/health", "/metrics")
_SAFE = ("GET", "HEAD", "OPTIONS")
# A visitor may write anything for a method; it must not stand in our log.
_METHODS = frozenset((*_SAFE, "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT"))


class Guard:
    """ASGI middleware, outermost."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        meters: Meters,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        self._app = app
        self._meters = meters
        self._patience = patience
        self._origin = settings.url
        self._headers = _headers(settings)
        self._under_way = Counter[Kind]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identifier = _name_request(scope)
        scope[REQUEST_ID] = identifier
        with log_context(request_id=identifier), _tracer(scope).span("request", "answers") as span:
            await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: Span) -> None:
        began = time.perf_counter()
        body = _Measured(scope, receive, self._patience)
        answer = _Answer(send, {**self._headers, "X-Request-Id": scope[REQUEST_ID]}, body)
        try:
            _check_framing(scope)
            self._check_site(scope)
            with self._place(_kind(scope["path"])):
                await self._app(scope, body, answer)
        except VisitError as error:
            await answer.instead(await answer_error(Request(scope), error), scope, receive)
        except ClientDisconnect:
            answer.status = _GONE
        except Exception as error:  # noqa: BLE001 - whatever it is, the visitor gets an answer
            await answer.instead(await answer_crash(Request(scope), error), scope, receive)
        finally:
            self._note(scope, answer.status, time.perf_counter() - began, span)

    @contextmanager
    def _place(self, kind: Kind) -> Iterator[None]:
        """One of those there are for this kind. Raises VisitError: none is free."""
        if decide_admission(kind, self._under_way[kind]) == "busy":
            raise VisitError(
                "store-busy",
                "Very many want something at this moment.",
                hint="Nothing is lost: try again in some seconds.",
                retry_after=BUSY_SECONDS,
            )
        self._under_way[kind] += 1
        try:
            yield
        finally:
            self._under_way[kind] -= 1

    def _check_site(self, scope: Scope) -> None:
        """Forms of other sites are known by what browsers add to every request."""
        if scope["method"] in _SAFE or scope["path"] == _WEBHOOK:
            return
        headers = Headers(scope=scope)
        site = headers.get("sec-fetch-site", "same-origin")
        origin = headers.get("origin", self._origin)
        if site not in ("same-origin", "none") or origin != self._origin:
            raise VisitError(
                "other-site",
                "This was sent by a page of another site.",
                hint="Open the store itself and try there.",
            )

    def _note(self, scope: Scope, status: int, seconds: float, span: Span) -> None:
        # The endpoint's name, never the path or query: they hold ids and tokens.
        endpoint = getattr(scope.get("endpoint"), "__name__", "none")
        self._meters.requests.labels(endpoint, status).inc()
        self._meters.seconds.labels(endpoint).observe(seconds)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        span.rename(f"{method} {endpoint}")
        span.note(
            {
                "http.request.method": method,
                "http.route": endpoint,
                "http.response.status_code": status,
                "shimmy.request_id": scope[REQUEST_ID],
            }
        )
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            span.fail(f"http-{status}")
        milliseconds = round(seconds * 1000, 1)
        _LOG.info(
            "request", endpoint=endpoint, method=method, status=status, milliseconds=milliseconds
        )


def _name_request(scope: Scope) -> str:
    """As a proxy before us named it, if that name tells nothing else; or a new one."""
    given = Headers(scope=scope).get("x-request-id", "")
    return given if is_request_id(given) else uuid.uuid4().hex


def _tracer(scope: Scope) -> Tracer:
    tracer: Tracer | None = getattr(getattr(scope.get("app"), "state", None), "tracer", None)
    return tracer or Untraced()


def _kind(path: str) -> Kind:
    if path in _HEALTH:
        return "health"
    return "webhook" if path == _WEBHOOK else "visit"


def _check_framing(scope: Scope) -> None:
    """Whoever passed on such a request may have read another one in it: RFC 9112, 6.3."""
    headers = Headers(scope=scope)
    if "content-length" in headers and "transfer-encoding" in headers:
        raise VisitError(
            "framing-unclear",
            "The request tells the length of its body in two ways.",
            hint="Send Content-Length or Transfer-Encoding, not both.",
        )


class _Answer:
    """What goes out: with our headers, and its status remembered."""

    def __init__(self, send: Send, headers: Mapping[str, str], body: _Measured) -> None:
        self._send = send
        self._headers = headers
        self._body = body
        self._started = False
        self.status = _GONE

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self._started = message["status"], True
            headers = MutableHeaders(scope=message)
            for name, value in self._headers.items():
                headers.setdefault(name, value)
            if not self._body.whole:
                # Else whoever sends on and on keeps the connection after the answer.
                headers["Connection"] = "close"
        await self._send(message)

    async def instead(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Another answer, unless one has begun."""
        if not self._started:
            await response(scope, receive, self)


class _Measured:
    """A body that may be neither too long nor too slow."""

    def __init__(self, scope: Scope, receive: Receive, patience: float) -> None:
        self._receive = receive
        # For the whole of it: a byte now and then would hold a connection for days.
        if scope["path"] == _RESTORE:
            patience = max(patience, _DUMP_PATIENCE_SECONDS)
        self._end = asyncio.get_running_loop().time() + patience
        self._left = _MOST.get(scope["path"], _MOST_BYTES)
        headers = Headers(scope=scope)
        length = headers.get("content-length", "0")
        self.whole = length == "0" and "transfer-encoding" not in headers

    async def __call__(self) -> Message:
        if self.whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._end):
                message = await self._receive()
        except TimeoutError as error:
            raise VisitError("body-too-slow", "The body did not arrive in time.") from error
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self._left < 0:
                raise VisitError("body-too-large", "The body is too long.")
        return message


def _headers(settings: Settings) -> Mapping[str, str]:
    pay = " ".join(settings.pay_origins)
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        # Browsers hold the redirect after a form to this as well.
        f"connect-src 'self'; form-action 'self' {pay}; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        # Where nothing else is said: caches keep a refusal otherwise, too.
        "Cache-Control": "no-store",
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        # Not "no-referrer": with it browsers call the origin of our own forms "null".
        "Referrer-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if urlsplit(settings.url).scheme == "https":
        headers["Strict-Transport-Security"] = "max-age=63072000; includeSubDomains"
    return headers
