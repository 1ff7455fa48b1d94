"""The ``WebFetch`` port: httpx over connections that only go to addresses which were judged."""

from __future__ import annotations

from contextlib import closing

import httpx

from shimmy_vision.adapters.web.guarded_trip import (
    GuardedWay,
    Outgoing,
    Trip,
    url_refused,
)
from shimmy_vision.domain.web.refusal import Refused
from shimmy_vision.domain.web.urls import check_redirect
from shimmy_vision.errors import ImageError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.web_fetch import HEAD_BYTES, Appetite, FetchLimits

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_ASKING = Outgoing("GET", {"Accept": "image/*, application/pdf, */*;q=0.1"})


class GuardedFetch(GuardedWay):
    """Redirects are followed, each judged like the first."""

    def fetch(
        self,
        url: str,
        limits: FetchLimits,
        cancellation: Cancellation,
        appetite: Appetite | None = None,
    ) -> bytes:
        if self._offline:
            raise UsageError(
                "url-offline",
                "SHIMMY_OFFLINE forbids the network, so no URL is fetched.",
                hint="Unset SHIMMY_OFFLINE, or save the file and name that.",
            )
        verdict = self._judge(url)
        trip, reading = Trip(limits.max_seconds, cancellation), _Reading(limits, appetite)
        with trip.clock(), closing(self._transport()) as transport:
            for hop in range(limits.max_redirects + 1):
                addresses = trip.addresses(verdict, self._allow, self._resolve, first=hop == 0)
                host = verdict.host

                def read(response: httpx.Response, host: str = host) -> bytes | str:
                    return reading.read(response, host, trip)

                answer = trip.exchange(transport, verdict, addresses, _ASKING, read)
                if isinstance(answer, bytes):
                    return answer
                next_one = check_redirect(verdict.url, answer, self._allow)
                if isinstance(next_one, Refused):
                    raise url_refused(next_one, first=False)
                verdict = next_one
        raise ImageError(
            "fetch-redirects", f"The URL leads on more than {limits.max_redirects} times."
        )


class _Reading:
    """How much of the answers is read."""

    def __init__(self, limits: FetchLimits, appetite: Appetite | None) -> None:
        self._most, self._appetite = limits.max_bytes, appetite

    def read(self, response: httpx.Response, host: str, trip: Trip) -> bytes | str:
        """The body, never more of it than is allowed; or where the answer leads."""
        location = response.headers.get("Location")
        if response.status_code in _REDIRECTS and location:
            return str(location)
        _check_answer(response, host)
        body, most, appetite = bytearray(), self._most, self._appetite
        for piece in response.iter_raw():
            trip.check()
            body += piece
            if appetite is not None and len(body) >= HEAD_BYTES:
                wanted, appetite = appetite(bytes(body[:HEAD_BYTES])), None
                if wanted == 0:
                    break
                most = min(most, wanted)
            if len(body) > most:
                raise _too_large(most)
        return bytes(body)


def _check_answer(response: httpx.Response, host: str) -> None:
    status = response.status_code
    if not 200 <= status < 300:
        raise ImageError(
            "fetch-not-found",
            f"{host} answers with HTTP {status}.",
            hint="Open the URL in a browser; it must be reachable without signing in.",
            retryable=status >= 500 or status == 429,
        )
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ImageError("fetch-encoded", f"{host} packs its answer although it must not.")


def _too_large(most: int) -> ImageError:
    return ImageError("fetch-too-large", f"The URL's content is larger than {most / 1e6:g} MB.")
