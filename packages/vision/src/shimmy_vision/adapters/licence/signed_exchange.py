"""One request to the licence server and a reply that is genuine, or an error that says why not.

The only place that translates transport errors, unsigned replies, 5xx and 429. Error messages name
neither keys nor addresses.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from queue import Empty, Queue
from typing import Any
from urllib.parse import urlsplit

import httpx

from shimmy_vision import __version__
from shimmy_vision.adapters.http_line import Line
from shimmy_vision.domain.licence.licence_facts import one_line
from shimmy_vision.domain.licence.licensor import is_loopback
from shimmy_vision.domain.licence.response_signature import Asked, NotGenuine, check_reply
from shimmy_vision.errors import LicenceServerError

_MEDIA_TYPE = "application/vnd.api+json"
_API_VERSION = "1.8"
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
        return next((one_line(error.get("detail", ""), 200) for error in self._errors()), "")

    def _errors(self) -> list[Mapping[str, Any]]:
        listed = self.document.get("errors")
        return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


class SignedExchange:
    """Speaks to one account of one licence server; no exchange takes longer than ``timeout``."""

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
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = None

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
                "licence-server-forbidden",
                "SHIMMY_OFFLINE forbids the network",
                hint="Unset SHIMMY_OFFLINE for a moment, then try again.",
                sent=False,
            )
        headers = {
            "Accept": _MEDIA_TYPE,
            # What is signed is the body as it was written, not as something packed it on the way.
            "Accept-Encoding": "identity",
            "Keygen-Version": _API_VERSION,
            "User-Agent": f"shimmy-vision/{__version__}",
        }
        if key is not None:
            headers["Authorization"] = f"License {key}"
        content = None
        if body is not None:
            headers["Content-Type"] = _MEDIA_TYPE
            content = json.dumps(body).encode()
        client = self._connector()
        # A key that no server ever issued may hold any character.
        coded = httpx.Headers(headers, encoding="utf-8")
        request = client.build_request(method, self._base + path, headers=coded, content=content)
        response, data = self._send(client, request)
        return self._genuine(request, response, data)

    def _connector(self) -> httpx.Client:
        """Made on first use, as it reads every root certificate."""
        on_loopback = is_loopback(self._host)
        with self._lock:
            if self._client is None:
                try:
                    self._client = httpx.Client(
                        # Less than the whole, so that what it was can still be told apart.
                        timeout=0.9 * self._timeout,
                        # A proxy stands between this machine and the world, never between it
                        # and itself; and loopback speaks no TLS.
                        trust_env=not on_loopback,
                        verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if on_loopback else True,
                        # An exchange can only be hung up on a line of its own.
                        limits=httpx.Limits(max_keepalive_connections=0),
                    )
                except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
                    raise _unreachable(
                        "the environment names a proxy or certificates that cannot be used",
                        sent=False,
                    ) from error
            return self._client

    def _send(self, client: httpx.Client, request: httpx.Request) -> tuple[httpx.Response, bytes]:
        """On a thread of its own, which is left behind when the time is over.

        Names that do not resolve and addresses that do not answer keep a thread for as long as the
        system likes, and none of httpx's limits adds them up.
        """
        line, outcome = Line(), Queue[tuple[httpx.Response, bytes] | Exception](1)
        request.extensions["trace"] = line.trace

        def work() -> None:
            try:
                outcome.put(_exchange(client, request))
            except Exception as error:  # noqa: BLE001 - carried over to the waiting thread
                outcome.put(error)

        threading.Thread(target=work, name="shimmy-licence", daemon=True).start()
        try:
            found = outcome.get(timeout=self._timeout)
        except Empty:
            raise _unreachable("it did not answer in time", sent=line.hang_up()) from None
        if isinstance(found, Exception):
            raise found
        return found

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
        except (ValueError, RecursionError) as error:
            raise malformed() from error
        if not isinstance(document, dict):
            raise malformed()
        return Reply(response.status_code, document, checked.date)


def _exchange(client: httpx.Client, request: httpx.Request) -> tuple[httpx.Response, bytes]:
    try:
        response = client.send(request, stream=True)
        try:
            return response, _read(response)
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


def malformed() -> LicenceServerError:
    """The error for a genuine reply that makes no sense."""
    return LicenceServerError(
        "licence-server-malformed",
        "the licence server's reply makes no sense to this version",
        hint="Update Shimmy Vision, or try again later.",
    )


def _read(response: httpx.Response) -> bytes:
    data = b""
    for piece in response.iter_raw():
        data += piece
        if len(data) > _LARGEST_REPLY:
            raise _unreachable("its reply is far too long")
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
