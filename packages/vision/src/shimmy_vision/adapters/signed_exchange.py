"""One request to the licence server and a reply that is genuine, or an error that says why not.

The only place that translates transport errors, unsigned replies, 5xx and 429. Error messages name
neither keys nor addresses.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx

from shimmy_vision import __version__
from shimmy_vision.domain.licence.licensor import LOOPBACK
from shimmy_vision.domain.licence.response_signature import Asked, NotGenuine, check_reply
from shimmy_vision.errors import LicenceServerError

_MEDIA_TYPE = "application/vnd.api+json"
_LARGEST_REPLY = 1_000_000
_RETRY_HINT = "Check the network and try again."


@dataclass(frozen=True, slots=True)
class Reply:
    """A genuine reply, signed at ``at``; ``document`` is empty where there is no body."""

    status: int
    document: Mapping[str, Any]
    at: datetime

    def error_codes(self) -> frozenset[str]:
        """Codes of every error object: a full licence may answer with two at once."""
        return frozenset(str(error.get("code", "")) for error in self._errors())

    def error_detail(self) -> str:
        """The first error in the server's words."""
        return next((str(error.get("detail", "")) for error in self._errors()), "")

    def _errors(self) -> list[Mapping[str, Any]]:
        listed = self.document.get("errors")
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


class SignedExchange:
    """Speaks to one account of one licence server."""

    def __init__(
        self,
        api_url: str,
        account: str,
        public_key: str,
        *,
        now: Callable[[], datetime],
        timeout: float,
        offline: bool = False,
    ) -> None:
        self._base = f"{api_url}/v1/accounts/{account}/"
        self._public_key = public_key
        self._now = now
        self._offline = offline
        self._timeout = timeout
        parts = urlsplit(api_url)
        self._host, self._port = parts.hostname or "", parts.port
        # A proxy stands between this machine and the world, never between it and itself.
        self._client = httpx.Client(
            timeout=timeout, trust_env=self._host not in LOOPBACK, follow_redirects=False
        )

    def close(self) -> None:
        """Close kept connections."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Reply:
        """Send and verify; ``key`` authenticates as that licence. Raises LicenceServerError."""
        if self._offline:
            raise LicenceServerError(
                "licence-server-forbidden", "SHIMMY_OFFLINE forbids the network", sent=False
            )
        headers = {"Accept": _MEDIA_TYPE, "User-Agent": f"shimmy-vision/{__version__}"}
        if key is not None:
            headers["Authorization"] = f"License {key}"
        content = None
        if body is not None:
            headers["Content-Type"] = _MEDIA_TYPE
            content = json.dumps(body).encode()
        request = self._client.build_request(
            method, self._base + path, headers=headers, content=content
        )
        response, data = self._send(request)
        return self._genuine(request, response, data)

    def _send(self, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        try:
            response = self._client.send(request, stream=True)
            try:
                return response, _read(response, time.monotonic() + self._timeout)
            finally:
                response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise _unreachable("it cannot be connected to", sent=False) from error
        except httpx.TimeoutException as error:
            raise _unreachable("it did not answer in time") from error
        except httpx.ProxyError as error:
            raise _unreachable("the proxy refuses the connection") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable("the connection broke") from error

    def _genuine(self, request: httpx.Request, response: httpx.Response, data: bytes) -> Reply:
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise LicenceServerError(
                "licence-server-busy",
                "the licence server asks to wait",
                hint="Try again in a minute.",
                retry_after=_seconds(response.headers.get("retry-after")),
            )
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise LicenceServerError(
                "licence-server-failing",
                f"the licence server fails with status {response.status_code}",
                hint="Try again later.",
            )
        # Requests carry query strings of ours only; httpx puts on the wire what raw_path holds.
        target = request.url.raw_path.decode("ascii")
        asked = Asked(request.method, target, self._host, self._port)
        headers = {name.lower(): value for name, value in response.headers.items()}
        checked = check_reply(asked, headers, data, self._public_key, self._now())
        if isinstance(checked, NotGenuine):
            raise _not_genuine(checked)
        try:
            document = json.loads(data) if data else {}
        except ValueError as error:
            raise malformed() from error
        if not isinstance(document, dict):
            raise malformed()
        return Reply(response.status_code, document, checked.date)


def malformed() -> LicenceServerError:
    """The error for a genuine reply that makes no sense."""
    return LicenceServerError(
        "licence-server-malformed",
        "the licence server's reply makes no sense to this version",
        hint="Update Shimmy Vision, or try again later.",
    )


def _read(response: httpx.Response, deadline: float) -> bytes:
    data = b""
    for piece in response.iter_raw():
        data += piece
        if len(data) > _LARGEST_REPLY:
            raise _unreachable("its reply is far too long")
        # httpx bounds each read, not all of them: a reply that trickles would never end.
        if time.monotonic() > deadline:
            raise _unreachable("it did not answer in time")
    return data


def _unreachable(why: str, *, sent: bool = True) -> LicenceServerError:
    return LicenceServerError(
        "licence-server-unreachable",
        f"the licence server was not reached: {why}",
        hint=_RETRY_HINT,
        sent=sent,
    )


def _not_genuine(found: NotGenuine) -> LicenceServerError:
    if found.skew is not None:
        return LicenceServerError(
            "clock-wrong",
            f"this machine's clock is {_span(found.skew)} the licence server's",
            hint="Set date and time (or switch on automatic time), then try again.",
        )
    what = "carries no signature" if found.fault == "unsigned" else "is not signed by it"
    return LicenceServerError(
        "licence-server-not-genuine",
        f"something else answered for the licence server: the reply {what}",
        hint="A proxy or a network's sign-in page may be in between. " + _RETRY_HINT,
    )


def _span(skew: timedelta) -> str:
    minutes = abs(round(skew.total_seconds() / 60))
    size = f"{minutes} minutes" if minutes < 120 else f"{minutes // 60} hours"
    return f"{size} {'ahead of' if skew > timedelta(0) else 'behind'}"


def _seconds(text: str | None) -> float | None:
    return float(text) if text and text.isascii() and text.isdigit() else None
