"""The one shape of an error over HTTP, for every endpoint and every kind of failure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse

from shimmy_vision.errors import ShimmyError, kind_of
from shimmy_vision.server.json_text import JsonResponse
from shimmy_vision.server.status_codes import status_of

_RETRY_SECONDS = 5


def error_json(error: ShimmyError) -> dict[str, Any]:
    """``{"error": {...}}``: code, message, hint, retryable, the kind as ``type``, and a ``param``

    that OpenAI's clients look for.
    """
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "retryable": error.retryable,
            "type": kind_of(error),
            "param": None,
        }
    }


def error_response(error: ShimmyError) -> JSONResponse:
    """The error with its status, and when to try again where that may help."""
    return JsonResponse(error_json(error), status_of(error), headers=_headers(error))


def crash_error() -> ShimmyError:
    """For what nobody foresaw: nothing of it leaves this machine but this."""
    return ShimmyError(
        "internal",
        "The server made a mistake that it cannot explain.",
        hint="Try again. If it happens every time, please report it with the server's log.",
        retryable=True,
    )


def _headers(error: ShimmyError) -> Mapping[str, str]:
    status = status_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if error.code.startswith("api-key-") else {}
    if error.retryable and status in (429, 502, 503):
        headers["Retry-After"] = str(_retry_after(error))
    return headers


def _retry_after(error: ShimmyError) -> int:
    wished = error.retry_after
    return _RETRY_SECONDS if wished is None else max(1, math.ceil(wished))
