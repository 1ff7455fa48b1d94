"""Asking Keygen and understanding its refusals: the one place that translates its errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from shimmy_ops.errors import LicensingError

_MEDIA_TYPE = "application/vnd.api+json"
_NOT_ALLOWED = frozenset({401, 402, 403})
_PAGE, _MOST_PAGES = 100, 100


class KeygenWire:
    """``client`` speaks to ``…/v1/accounts/ID/`` and authenticates."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def ask(self, method: str, path: str, data: Any = None) -> Any:
        """The ``data`` of the answer, None for an empty one. Raises LicensingError."""
        reply = self.send(method, path, data)
        with keygen_shapes():
            return reply.json()["data"] if reply.content else None

    def send(self, method: str, path: str, data: Any = None) -> httpx.Response:
        """The answer, whole. Raises LicensingError.

        Nothing is sent twice: Keygen would make it twice.
        """
        headers = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
        body = None if data is None else {"data": data}
        try:
            reply = self._client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise LicensingError(
                "licensing-unreachable",
                f"Keygen was not reached: {type(error).__name__}.",
                hint="Run it again: it goes on where it was.",
                retryable=True,
            ) from None
        _check(reply, f"{method} {path.partition('?')[0]}")
        return reply

    def pages(self, path: str) -> list[Mapping[str, Any]]:
        """Every resource of a list. Raises LicensingError."""
        found: list[Mapping[str, Any]] = []
        mark = "&" if "?" in path else "?"
        for number in range(1, _MOST_PAGES + 1):
            listed = self.ask("GET", f"{path}{mark}page[size]={_PAGE}&page[number]={number}")
            found.extend(listed)
            if len(listed) < _PAGE:
                break
        return found


def _check(reply: httpx.Response, asked: str) -> None:
    if reply.is_success:
        return
    codes = ", ".join(_codes(reply)) or "no code"
    if reply.status_code in _NOT_ALLOWED or reply.is_redirect:
        raise LicensingError(
            "licensing-not-allowed",
            f"Keygen does not let us: {asked} is answered {reply.status_code} ({codes}).",
            hint="Check the account, and that the token is an admin's.",
        )
    busy = reply.status_code in (httpx.codes.CONFLICT, httpx.codes.TOO_MANY_REQUESTS)
    if busy or reply.is_server_error:
        raise LicensingError(
            "licensing-failing",
            f"Keygen answers {asked} with {reply.status_code} ({codes}).",
            hint="Run it again: it goes on where it was.",
            retryable=True,
        )
    if reply.status_code == httpx.codes.NOT_FOUND:
        raise LicensingError(
            "licensing-not-found",
            f"Keygen has nothing at {asked}: 404 ({codes}).",
            hint="Check the account and the product.",
        )
    raise LicensingError(
        "licensing-refused", f"Keygen refuses {asked}: {reply.status_code} ({codes})."
    )


def _codes(reply: httpx.Response) -> list[str]:
    try:
        listed = reply.json()["errors"]
        return [
            f"{one.get('code') or one.get('title')} {(one.get('source') or {}).get('pointer', '')}"
            for one in listed
        ]
    except (ValueError, LookupError, TypeError, AttributeError):
        return []


@contextmanager
def keygen_shapes() -> Iterator[None]:
    """Raises LicensingError for what is of another shape than Keygen's resources."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise LicensingError(
            "licensing-malformed",
            f"Keygen's reply is of another shape than expected: {type(error).__name__}.",
            hint="Something else may be answering at Keygen's address.",
        ) from error
