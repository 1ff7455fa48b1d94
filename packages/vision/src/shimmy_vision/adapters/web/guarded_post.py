"""The ``WebPost`` port: as ``GuardedFetch``, to judged addresses only."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import httpx

from shimmy_vision.adapters.web.guarded_trip import (
    GuardedWay,
    Outgoing,
    Trip,
)
from shimmy_vision.domain.web.urls import Allowed
from shimmy_vision.errors import UsageError
from shimmy_vision.ports.cancellation import Cancellation


class GuardedPost(GuardedWay):
    """Redirects are not followed."""

    def check(self, url: str) -> None:
        self._check(url)

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        max_seconds: float,
        cancellation: Cancellation,
    ) -> int:
        to = self._check(url)
        trip = Trip(max_seconds, cancellation)
        with trip.clock(), closing(self._transport()) as transport:
            addresses = trip.addresses(to, self._allow, self._resolve, first=True)
            outgoing = Outgoing("POST", {**headers, "Accept": "*/*"}, body)
            return trip.exchange(transport, to, addresses, outgoing, _status)

    def _check(self, url: str) -> Allowed:
        if self._offline:
            raise UsageError(
                "url-offline",
                "SHIMMY_OFFLINE forbids the network, so nothing is sent to a URL.",
                hint="Unset SHIMMY_OFFLINE, or ask for the job's state instead.",
            )
        return self._judge(url)


def _status(response: httpx.Response) -> int:
    """All that is wanted of an answer: what follows its head could be large, or never end."""
    return response.status_code
