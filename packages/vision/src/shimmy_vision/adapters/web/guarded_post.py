"""The ``WebPost`` port: as ``GuardedFetch``, to judged addresses only."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import httpx

from shimmy_vision.adapters.web.guarded_trip import (
    OpenTransport,
    Outgoing,
    Trip,
    open_transport,
    url_refused,
)
from shimmy_vision.adapters.web.system_names import Resolve, resolve_by_system
from shimmy_vision.domain.web.allow_list import AllowList
from shimmy_vision.domain.web.refusal import Refused
from shimmy_vision.domain.web.urls import Allowed, check_url
from shimmy_vision.errors import UsageError
from shimmy_vision.ports.cancellation import Cancellation


class GuardedPost:
    """``transport`` and ``offline`` as in ``GuardedFetch``."""

    def __init__(
        self,
        allow: AllowList,
        *,
        resolve: Resolve = resolve_by_system,
        transport: OpenTransport = open_transport,
        offline: bool = False,
    ) -> None:
        self._allow, self._resolve, self._offline = allow, resolve, offline
        self._transport = transport

    def check(self, url: str) -> None:
        self._judge(url)

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        max_seconds: float,
        cancellation: Cancellation,
    ) -> int:
        to = self._judge(url)
        trip = Trip(max_seconds, cancellation)
        with trip.clock(), closing(self._transport()) as transport:
            addresses = trip.addresses(to, self._allow, self._resolve, first=True)
            outgoing = Outgoing("POST", {**headers, "Accept": "*/*"}, body)
            return trip.exchange(transport, to, addresses, outgoing, _status)

    def _judge(self, url: str) -> Allowed:
        if self._offline:
            raise UsageError(
                "url-offline",
                "SHIMMY_OFFLINE forbids the network, so nothing is sent to a URL.",
                hint="Unset SHIMMY_OFFLINE, or ask for the job's state instead.",
            )
        verdict = check_url(url, self._allow)
        if isinstance(verdict, Refused):
            raise url_refused(verdict, first=True)
        return verdict


def _status(response: httpx.Response) -> int:
    """All that is wanted of an answer: what follows its head could be large, or never end."""
    return response.status_code
