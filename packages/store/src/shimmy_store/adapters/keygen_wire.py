"""Asking Keygen and understanding its refusals: the one place that translates its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from shimmy_store.domain.keygen_signature import Asked, Replied, Verify, check_reply
from shimmy_store.errors import LicensingError

_MEDIA_TYPE = "application/vnd.api+json"
# Unauthorized, Payment Required, Forbidden: of the token or the account, whatever is asked for.
_NOT_ALLOWED = frozenset({401, 402, 403})


# What is acted on. Whatever else is answered ends in an error, whoever says it.
_DECISIVE = frozenset({404, 409, 422})


@dataclass(frozen=True, slots=True)
class ReplyWitness:
    """Believes only what the account's key (32 bytes) has signed."""

    public_key: bytes
    verify: Verify
    now: Callable[[], datetime]

    def check(self, reply: httpx.Response) -> None:
        """Raises LicensingError for a reply that would be acted on and is not genuine."""
        if not reply.is_success and reply.status_code not in _DECISIVE:
            return
        url, headers = reply.request.url, {name.lower(): one for name, one in reply.headers.items()}
        target = url.raw_path.decode("ascii")
        asked = Asked(reply.request.method, target, url.host, url.port)
        replied = Replied(headers, reply.content)
        fault = check_reply(asked, replied, self.public_key, self.verify, self.now())
        if fault is not None:
            raise LicensingError(
                "keygen-signature-wrong",
                f"What came from Keygen's address is not signed as the account would: {fault}.",
                hint="Compare the public key with the account's, and this clock with the time."
                " If both are right, something else answers there. It is tried again.",
                retryable=True,
            )


class KeygenWire:
    """``client`` speaks to ``…/v1/accounts/ID/`` and authenticates.

    Without a ``witness`` whoever answers is believed, as far as TLS goes.
    """

    def __init__(self, client: httpx.AsyncClient, witness: ReplyWitness | None = None) -> None:
        self._client = client
        self._witness = witness

    async def ask(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        """A reply of any status. Raises LicensingError where none comes that is genuine."""
        headers = {"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE}
        try:
            reply = await self._client.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise LicensingError(
                "licensing-unreachable",
                f"Keygen was not reached: {type(error).__name__}.",
                hint="It is tried again later.",
                retryable=True,
            ) from error
        if self._witness is not None:
            self._witness.check(reply)
        return reply


def checked(reply: httpx.Response) -> httpx.Response:
    """The reply, if it is no refusal. Raises LicensingError."""
    if reply.is_success:
        return reply
    codes = ", ".join(error_codes(reply)) or "no code"
    if reply.status_code in _NOT_ALLOWED or reply.has_redirect_location or reply.is_redirect:
        raise LicensingError(
            "licensing-not-allowed",
            f"Keygen does not let us in: {reply.status_code} ({codes}).",
            hint="Check address, account, token and the token's permissions. It is tried again.",
            retryable=True,
        )
    busy = (httpx.codes.CONFLICT, httpx.codes.TOO_MANY_REQUESTS)
    later = reply.status_code in busy or reply.is_server_error
    raise LicensingError(
        "licensing-failing" if later else "licensing-refused",
        f"Keygen answers {reply.status_code} ({codes}).",
        hint="It is tried again later." if later else "Check the policies and their scheme.",
        # A wrong policy refuses every customer, and an operator mends it: none is given up for it.
        retryable=True,
    )


def document(reply: httpx.Response) -> Mapping[str, Any]:
    """The JSON:API document of one resource, of several or of none. Raises LicensingError."""
    with keygen_shapes():
        read = reply.json()
        if isinstance(read["data"], dict | list | None):
            return dict(read)
        raise TypeError("no resource")


@contextmanager
def keygen_shapes() -> Iterator[None]:
    """Raises LicensingError for what is of another shape than Keygen's resources."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise LicensingError(
            "licensing-malformed",
            f"Keygen's reply is of another shape than expected: {type(error).__name__}.",
            hint="Something else may be answering at Keygen's address.",
            retryable=True,
        ) from error


def errors(reply: httpx.Response) -> list[Mapping[str, Any]]:
    """What a refusal lists."""
    try:
        read = reply.json() if reply.content else {}
    except ValueError:
        return []
    listed = read.get("errors") if isinstance(read, dict) else None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def error_codes(reply: httpx.Response) -> list[str]:
    """The codes of a refusal; some of Keygen's have none."""
    return [str(error["code"]) for error in errors(reply) if error.get("code")]
