"""Every error's HTTP status: the one table. Told as a page to people, as RFC 9457 to programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shimmy_store.errors import (
    CatalogError,
    DumpError,
    LedgerError,
    LicensingError,
    MailError,
    PaymentsError,
    SettingsError,
    StoreError,
    VisitError,
)
from shimmy_store.server.logs import logger_of
from shimmy_store.server.pages import show_page

_LOG = logger_of(__name__)

# Under this name a request's scope has its id.
REQUEST_ID = "shimmy_request_id"
STATUS: Mapping[str, int] = {
    "plan-unknown": 404,
    "page-unknown": 404,
    "method-unknown": 405,
    "purchase-unknown": 404,
    "key-unknown": 404,
    "machine-unknown": 404,
    "address-malformed": 422,
    "fields-missing": 422,
    "body-malformed": 400,
    "body-too-large": 413,
    "body-too-slow": 408,
    "media-unknown": 415,
    "other-site": 403,
    "form-expired": 403,
    "sign-in-needed": 401,
    "licence-not-yours": 403,
    "link-unknown": 404,
    "link-used": 410,
    "link-late": 410,
    "link-other-browser": 403,
    "merge-not-possible": 409,
    "merge-busy": 503,
    "too-many-requests": 429,
    "store-busy": 503,
    "event-refused": 400,
    "metrics-refused": 403,
    "plan-not-on-sale": 503,
    "operator-refused": 401,
    "operator-request-malformed": 400,
    "customer-unknown": 404,
    "customer-merged": 409,
    "dump-damaged": 400,
    "dump-of-other-mode": 409,
    "dump-of-newer-schema": 409,
    "ledger-not-empty": 409,
}
_BY_KIND: tuple[tuple[type[StoreError], int], ...] = (
    (VisitError, 400),
    (LedgerError, 503),
    (DumpError, 400),
    (PaymentsError, 502),
    (LicensingError, 502),
    (MailError, 502),
    (CatalogError, 500),
    (SettingsError, 500),
)
_RETRY_SECONDS = 10
# What is wrong on our side is not for visitors: they read this instead.
_OURS = "Something does not work on our side at the moment."
_OURS_HINT = "Nothing is lost: please try again in a moment."


def status_of(error: StoreError) -> int:
    """The HTTP status; what may be tried again is never a 500."""
    known = STATUS.get(error.code)
    if known is not None:
        return known
    status = next(number for kind, number in _BY_KIND if isinstance(error, kind))
    return HTTPStatus.SERVICE_UNAVAILABLE if error.retryable else status


def wants_page(request: Request) -> bool:
    """Whether a person asks; programs do not say that they take HTML."""
    if getattr(request.scope.get("endpoint"), "answers_programs", False):
        return False
    return "text/html" in request.headers.get("accept", "")


@dataclass(frozen=True, slots=True)
class Problem:
    """What a visitor is told."""

    code: str
    message: str
    hint: str = ""


def tell(
    request: Request, told: Problem, status: int, headers: Mapping[str, str] | None = None
) -> Response:
    """A page for people; RFC 9457 for programs, with the stable ``code``."""
    if wants_page(request):
        # A page that was asked for can be asked for again; a form has to be filled in anew.
        again = status >= HTTPStatus.INTERNAL_SERVER_ERROR and request.method == "GET"
        context = {
            "problem": told,
            "status": status,
            "again": again,
            "named": request.scope.get(REQUEST_ID, ""),
        }
        return show_page(request, "problem.html", context, status=status, headers=headers)
    content = {
        "type": f"urn:shimmy:problem:{told.code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": told.message,
        "code": told.code,
        **({"hint": told.hint} if told.hint else {}),
    }
    return JSONResponse(content, status, headers=headers, media_type="application/problem+json")


async def answer_error(request: Request, error: Exception) -> Response:
    """A StoreError as a page or as a problem."""
    assert isinstance(error, StoreError)  # noqa: S101 - the app registers it for nothing else
    status = status_of(error)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.info("error", code=error.code, status=status)
    return tell(request, _told(error), status, headers_of(error, status))


def _told(error: StoreError) -> Problem:
    if isinstance(error, VisitError):
        return Problem(error.code, error.message, error.hint)
    if error.code == "plan-not-on-sale":
        return Problem(error.code, error.message, "We have been told. Try again later.")
    return Problem(error.code, _OURS, _OURS_HINT)


def headers_of(error: StoreError, status: int) -> dict[str, str]:
    """When to come again, where that may help."""
    later = status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.BAD_GATEWAY)
    seconds = _RETRY_SECONDS if later else 0
    if isinstance(error, VisitError):
        seconds = error.retry_after or seconds
    return {"Retry-After": str(seconds)} if seconds else {}


async def answer_unknown(request: Request, error: Exception) -> Response:
    """An address that leads nowhere, or a method that it does not have."""
    status = getattr(error, "status_code", HTTPStatus.NOT_FOUND)
    told = Problem("page-unknown", "There is no such page here.", "Check the address.")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        hint = "Open the page that leads here, and use what is on it."
        told = Problem("method-unknown", "This address cannot be used in that way.", hint)
    return tell(request, told, status, dict(getattr(error, "headers", None) or {}))


async def answer_crash(request: Request, error: Exception) -> Response:
    """A bug of ours; what it was goes into the log without any value."""
    _LOG.info("crash", error=type(error).__name__)
    return tell(
        request, Problem("crashed", _OURS, _OURS_HINT), int(HTTPStatus.INTERNAL_SERVER_ERROR)
    )
