"""What goes wrong between a program and the server, as two exceptions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self


class ApiError(Exception):
    """The server answered with an error.

    ``code`` is stable, in kebab case; ``message`` says what happened and ``hint`` what to do, and
    may be empty. ``status`` is the HTTP status, or None for an error inside an answer, like that
    of one page. ``retryable``: the same request may succeed later, ``retry_after`` seconds from
    now if the server said so.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str = "",
        *,
        retryable: bool = False,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint
        self.retryable, self.status, self.retry_after = retryable, status, retry_after

    def __str__(self) -> str:
        return f"{self.message} ({self.code})" + (f" {self.hint}" if self.hint else "")

    @classmethod
    def of_record(
        cls, record: Any, status: int | None = None, retry_after: float | None = None
    ) -> Self:
        """Of the object under ``error``, as far as it is one."""
        told = record if isinstance(record, Mapping) else {}
        return cls(
            str(told.get("code", "answer-not-understood")),
            str(told.get("message", "The answer is not one of Shimmy Vision's.")),
            str(told.get("hint", "")),
            retryable=bool(told.get("retryable", False)),
            status=status,
            retry_after=retry_after,
        )

    @classmethod
    def of_response(cls, status: int, headers: Mapping[str, str], body: bytes) -> Self:
        """Of a whole response, which may come from something between us and the server."""
        try:
            answer = json.loads(body)
        except ValueError:
            answer = None
        record = answer.get("error") if isinstance(answer, dict) else None
        return cls.of_record(record, status, _seconds(headers.get("retry-after", "")))


class ServerUnreachable(ConnectionError):  # noqa: N818 - its base says that it is an error
    """Nobody answers at the address, or the connection broke before the answer was whole."""

    def __init__(self, base_url: str, reason: str) -> None:
        super().__init__(f"{base_url} cannot be reached: {reason}")
        self.base_url, self.reason = base_url, reason
        self.hint = "Start the server with: shimmy serve"

    def __str__(self) -> str:
        return f"{self.args[0]}. {self.hint}"


def _seconds(text: str) -> float | None:
    """Of a ``Retry-After`` header; our server never sends a date."""
    return float(text) if text.isascii() and text.isdigit() else None
