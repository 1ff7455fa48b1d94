"""The operator's door: a bearer token, JSON in and out, and errors as they are.

Nothing here is for browsers: no cookie is read or set, and no answer is a page.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeAlias

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from shimmy_store.domain.json_text import parse_json
from shimmy_store.errors import StoreError, VisitError
from shimmy_store.server.limits import OPERATORS, count_address
from shimmy_store.server.logs import logger_of
from shimmy_store.server.problems import Problem, headers_of, status_of, tell
from shimmy_store.wiring import Shop

OperatorHandler: TypeAlias = Callable[[Request, Shop], Awaitable[Response]]

_LOG = logger_of(__name__)
_CUSTOMER = r"cus_[A-Za-z0-9_]{1,250}"
_LONGEST_TEXT = 1000


def operated(handler: OperatorHandler) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint for whoever shows the operator's token."""

    async def endpoint(request: Request) -> Response:
        shop: Shop = request.app.state.shop
        try:
            await _check_token(request, shop)
            return await handler(request, shop)
        except VisitError:
            raise
        except StoreError as error:
            # Unlike a visitor, the operator is who has to mend it.
            return tell_operator(request, error, status_of(error))

    endpoint.__name__ = handler.__name__
    endpoint.answers_programs = True  # type: ignore[attr-defined]
    return endpoint


def tell_operator(request: Request, error: StoreError, status: int) -> Response:
    """A problem with the error's own words."""
    _LOG.info("error", code=error.code, status=status)
    told = Problem(error.code, error.message, error.hint)
    return tell(request, told, status, headers_of(error, status))


async def _check_token(request: Request, shop: Shop) -> None:
    given = request.headers.get("authorization", "").encode()
    # Every one of them, so that the time tells nothing.
    tokens = shop.settings.operator_tokens
    matches = [hmac.compare_digest(given, f"Bearer {one}".encode()) for one in tokens]
    if any(matches):
        return
    if given:
        await count_address(request, shop, OPERATORS)
    raise VisitError(
        "operator-refused",
        "This is for the store's operator.",
        hint="Send the token of SHIMMY_STORE_OPERATOR_TOKEN: Authorization: Bearer TOKEN.",
    )


def malformed(problem: str) -> VisitError:
    """``problem`` never repeats what was sent."""
    return VisitError("operator-request-malformed", problem, hint="docs/store.md has the form.")


async def read_fields(request: Request, *allowed: str) -> Mapping[str, str]:
    """The body's texts; the ones not given are absent. Raises VisitError."""
    if request.query_params:
        raise malformed("This takes no query: everything is in the body.")
    try:
        read = parse_json((await request.body()).decode("utf-8"))
    except ValueError as error:
        raise malformed("The body is not JSON.") from error
    if not isinstance(read, dict):
        raise malformed("The body is not a JSON object.")
    unknown = len(read.keys() - set(allowed))
    if unknown:
        raise malformed(f"{unknown} fields are unknown; known are {', '.join(allowed)}.")
    wrong = [name for name, value in read.items() if not _is_text(value)]
    if wrong:
        raise malformed(f"No text, or an empty or too long one: {', '.join(sorted(wrong))}.")
    return read


async def read_customer(request: Request) -> str:
    """The one field ``customer``. Raises VisitError."""
    return customer_in(await read_fields(request, "customer"))


def customer_in(fields: Mapping[str, str]) -> str:
    """Raises VisitError where it is missing or none of Stripe's ids."""
    if not re.fullmatch(_CUSTOMER, fields.get("customer", "")):
        raise malformed("customer is missing, or is not of the form cus_….")
    return fields["customer"]


def _is_text(value: Any) -> bool:
    # JSON can spell halves of characters, which nothing behind us can write.
    return (
        isinstance(value, str)
        and 0 < len(value) <= _LONGEST_TEXT
        and not any(one == "\0" or "\ud800" <= one <= "\udfff" for one in value)
    )


def answer(content: Mapping[str, Any]) -> Response:
    """JSON that nobody may keep."""
    return JSONResponse(dict(content), HTTPStatus.OK, headers={"Cache-Control": "no-store"})
