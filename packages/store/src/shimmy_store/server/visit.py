"""One visitor's request: who they have proved to be, and whether a form of ours was sent."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from itsdangerous import BadSignature, URLSafeSerializer
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from shimmy_store.domain.json_text import parse_json
from shimmy_store.errors import VisitError
from shimmy_store.server.problems import wants_page
from shimmy_store.settings import Settings
from shimmy_store.wiring import Shop

SESSION_FOR = timedelta(hours=1)
_BROWSER_SECONDS = 30 * 24 * 3600
_MOST_FIELDS = 50


@dataclass(frozen=True, slots=True)
class Session:
    """Whose licences this browser may see, and until when."""

    customers: tuple[str, ...]
    until: datetime


@dataclass(slots=True)
class Visit:
    """``browser`` is a random value that this browser keeps; only digests of it leave it."""

    request: Request
    shop: Shop
    browser: str = field(repr=False)
    session: Session | None
    known_browser: bool
    _begun: Session | None = None
    _ended: bool = False

    @property
    def form_token(self) -> str:
        """What our forms carry: another site cannot know it, another browser cannot use it."""
        return self._form_token(self.shop.settings.secrets[0])

    def believes(self, token: str) -> bool:
        """Whether a form carries ours: also one that was shown before a secret was replaced."""
        ours = [self._form_token(secret) for secret in self.shop.settings.secrets]
        matches = [hmac.compare_digest(token.encode(), one.encode()) for one in ours]
        return any(matches)

    def _form_token(self, secret: str) -> str:
        return hmac.new(
            secret.encode(), f"form {self.browser}".encode(), hashlib.sha256
        ).hexdigest()

    @property
    def browser_digest(self) -> str:
        """Which browser this is, for links that only it may use."""
        return hashlib.sha256(f"link {self.browser}".encode()).hexdigest()

    @property
    def attempt(self) -> str:
        """A fresh name for a form, so that sending it twice is sending it once."""
        return str(uuid.uuid4())

    def begin_session(self, customers: Sequence[str], until: datetime | None = None) -> None:
        """From now on this browser may see these customers' licences."""
        until = until or self.shop.now() + SESSION_FOR
        self._begun = self.session = Session(tuple(customers), until)

    def end_session(self) -> None:
        """This browser may see nothing any more."""
        self._ended, self._begun, self.session = True, None, None

    def require_session(self) -> Session:
        """Raises VisitError for somebody who has proved nothing."""
        if self.session is None:
            raise VisitError(
                "sign-in-needed",
                "Please show first whose licence this is.",
                hint="Open the licence page and use a mailed link or your licence key.",
            )
        return self.session

    def finish(self, response: Response) -> Response:
        """Set what the browser is to keep."""
        settings = self.shop.settings
        if not self.known_browser:
            name = _cookie_name(settings, "browser")
            _set(response, settings, name, self.browser, _BROWSER_SECONDS)
        name = _cookie_name(settings, "session")
        if self._begun is not None:
            left = int((self._begun.until - self.shop.now()).total_seconds())
            _set(response, settings, name, _write_session(settings, self._begun), max(left, 1))
        if self._ended:
            response.delete_cookie(name, path="/", secure=_is_https(settings), httponly=True)
        return response


Handler: TypeAlias = Callable[[Visit], Awaitable[Response]]


def page(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that knows its visitor."""

    async def endpoint(request: Request) -> Response:
        visit = _open_visit(request)
        request.state.visit = visit
        return visit.finish(await handler(visit))

    endpoint.__name__ = handler.__name__
    return endpoint


async def read_form(visit: Visit) -> Mapping[str, str]:
    """The fields of a form of ours, or of a JSON object. Raises VisitError.

    A form must carry this browser's token. JSON needs none: another site's page cannot send it
    without asking us first, and we allow none.
    """
    kind = visit.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return _texts(await _read_json(visit))
    if kind not in ("application/x-www-form-urlencoded", ""):
        raise VisitError("media-unknown", "Send a form or a JSON object.")
    body = (await visit.request.body()).decode("utf-8", "replace")
    try:
        fields = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise VisitError("body-malformed", "The form cannot be read.") from error
    if not visit.believes(fields.get("csrf", "")):
        raise VisitError(
            "form-expired",
            "This form is too old, or the browser does not keep our cookie.",
            hint="Go back, load the page again and send the form once more.",
        )
    return fields


async def _read_json(visit: Visit) -> Any:
    try:
        return parse_json((await visit.request.body()).decode("utf-8"))
    except ValueError as error:
        raise VisitError("body-malformed", "The body is not JSON.") from error


def _texts(read: Any) -> Mapping[str, str]:
    if not isinstance(read, dict) or not all(isinstance(one, str) for one in read.values()):
        raise VisitError("body-malformed", "Send a JSON object of texts.")
    # JSON can spell halves of characters, which nothing behind us can write.
    if not all(one.isascii() or _is_whole(one) for one in read.values()):
        raise VisitError("body-malformed", "A text is no Unicode.")
    return read


def _is_whole(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def go(visit: Visit, url: str) -> Response:
    """Send a person there with GET; tell a program where it is."""
    if wants_page(visit.request) or visit.request.method != "POST":
        headers = {"Cache-Control": "no-store"}
        return RedirectResponse(url, HTTPStatus.SEE_OTHER, headers)
    return json_answer({"url": url})


def json_answer(content: Mapping[str, Any], status: int = 200) -> Response:
    """JSON that nobody may keep."""
    return JSONResponse(dict(content), status, headers={"Cache-Control": "no-store"})


def _open_visit(request: Request) -> Visit:
    shop: Shop = request.app.state.shop
    kept = request.cookies.get(_cookie_name(shop.settings, "browser"), "")
    known = len(kept) == 43 and kept.isascii()
    session = _read_session(shop, request.cookies.get(_cookie_name(shop.settings, "session"), ""))
    return Visit(request, shop, kept if known else secrets.token_urlsafe(32), session, known)


def _read_session(shop: Shop, value: str) -> Session | None:
    if not value or len(value) > 4096:
        return None
    try:
        customers, until = _serializer(shop.settings).loads(value)
        session = Session(tuple(customers), datetime.fromtimestamp(until, UTC))
    except (BadSignature, ValueError, TypeError, OverflowError, OSError):
        return None
    return session if shop.now() < session.until else None


def _write_session(settings: Settings, session: Session) -> str:
    written = _serializer(settings).dumps([list(session.customers), session.until.timestamp()])
    return str(written)


def _serializer(settings: Settings) -> URLSafeSerializer:
    # itsdangerous signs with the last of several keys; ours has the newest first.
    keys = list(reversed(settings.secrets))
    signer = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    return URLSafeSerializer(keys, salt="shimmy-session", signer_kwargs=signer)


def _cookie_name(settings: Settings, name: str) -> str:
    # "__Host-": no other host of the domain can set it; browsers take it over https only.
    return f"__Host-shimmy-{name}" if _is_https(settings) else f"shimmy-{name}"


def _is_https(settings: Settings) -> bool:
    return settings.url.startswith("https://")


def _set(response: Response, settings: Settings, name: str, value: str, seconds: int) -> None:
    # Lax, not Strict: the way back from Stripe begins on Stripe's site.
    response.set_cookie(
        name,
        value,
        max_age=seconds,
        path="/",
        secure=_is_https(settings),
        httponly=True,
        samesite="lax",
    )
