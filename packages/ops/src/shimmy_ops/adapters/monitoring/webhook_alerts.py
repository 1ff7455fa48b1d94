"""The ``AlertChannel`` port: JSON, posted to an address, signed where that names a key."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

import httpx

from shimmy_ops.domain.monitoring.alerting import Notice, notice_document
from shimmy_ops.errors import MonitorError, ProfileError

SIGNATURE = "Shimmy-Signature"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class WebhookAlerts:
    """``url`` may end in ``#KEY``: then ``Shimmy-Signature: sha256=…`` is the body's HMAC.

    Raises ProfileError for an address that is neither https nor on loopback.
    """

    def __init__(
        self, url: str, client: Callable[[], AbstractContextManager[httpx.Client]]
    ) -> None:
        self._url, _, self._key = url.partition("#")
        self._client = client
        try:
            place = urlsplit(self._url)
            fit = place.scheme == "https" or place.hostname in _LOOPBACK
        except ValueError:
            fit = False
        if not fit:
            raise ProfileError(
                "alert-webhook-malformed",
                "The credential alert-webhook is neither an https address nor on loopback.",
            )

    @property
    def name(self) -> str:
        return "webhook"

    def send(self, notice: Notice) -> None:
        body = json.dumps(notice_document(notice)).encode()
        headers = {"Content-Type": "application/json"}
        if self._key:
            signed = hmac.new(self._key.encode(), body, hashlib.sha256).hexdigest()
            headers[SIGNATURE] = f"sha256={signed}"
        try:
            with self._client() as client:
                reply = client.post(self._url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _failed(type(error).__name__) from None
        if not reply.is_success:
            raise _failed(f"answered {reply.status_code}")


def _failed(how: str) -> MonitorError:
    return MonitorError(
        "alert-webhook-failed",
        f"The alert could not be posted: {how}.",
        hint="Check the credential alert-webhook, and who answers there.",
        retryable=True,
    )
