"""Refusals as Stripe words them: a status and one error object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


class RefusalError(Exception):
    """A request that is refused; ``body`` is the error object the client reads.

    ``keep`` commits what the request did before it was refused (a declined payment leaves its
    charge behind); otherwise everything is rolled back. ``retry`` is Stripe-Should-Retry.
    """

    def __init__(
        self, status: int, body: Mapping[str, Any], *, keep: bool = False, retry: bool = False
    ) -> None:
        super().__init__(body.get("message", ""))
        self.status = status
        self.body = dict(body)
        self.keep = keep
        self.retry = retry

    @classmethod
    def of(
        cls,
        status: int,
        kind: str,
        message: str,
        *,
        keep: bool = False,
        retry: bool = False,
        **fields: Any,
    ) -> RefusalError:
        """A refusal of type ``kind``; ``fields`` that are None are left out."""
        given = {name: value for name, value in fields.items() if value is not None}
        body = {**given, "message": message, "type": kind}
        return cls(status, body, keep=keep, retry=retry)


def invalid(
    message: str, param: str | None = None, code: str | None = None, status: int = 400
) -> RefusalError:
    """``invalid_request_error``; ``param`` in Stripe's bracket notation."""
    return RefusalError.of(status, "invalid_request_error", message, param=param, code=code)


def missing(param: str) -> RefusalError:
    """400 for a parameter that must be there."""
    return invalid(f"Missing required param: {param}.", param, "parameter_missing")


def no_such(kind: str, identifier: str, param: str = "id", status: int = 404) -> RefusalError:
    """404 for the object of a path, 400 (give it) for one that a parameter names."""
    return invalid(f"No such {kind}: '{identifier}'", param, "resource_missing", status)


def unsimulated(param: str) -> RefusalError:
    """400 for what Stripe knows and this sandbox does not: never ignored in silence."""
    return invalid(f"Stripe knows {param}, but it is not simulated by this sandbox", param)


def checked_url(url: str, param: str) -> str:
    """``url`` when a browser may be sent there; 400 for anything but http and https."""
    try:
        parts = urlsplit(url)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        fine = False
    if not fine:
        raise invalid(f"Not a valid URL: {url}", param, "url_invalid")
    return url


def unauthorised(message: str, code: str | None = None) -> RefusalError:
    """401: no key, a wrong key or a live one."""
    return RefusalError.of(401, "invalid_request_error", message, code=code)


def card_refusal(message: str, code: str, decline_code: str | None, **objects: Any) -> RefusalError:
    """402 for a card that did not pay; the attempt stays on the books."""
    fields = {"code": code, "decline_code": decline_code, **objects}
    return RefusalError.of(402, "card_error", message, keep=True, **fields)
