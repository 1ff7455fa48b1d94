"""The ``WebFetch`` port: httpx over connections that only go to addresses which were judged.

No cookies, no credentials, no proxies: a request carries nothing but what is written here. A
machine that reaches the world only through a proxy cannot fetch, as nobody could pin an address.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import httpx

from shimmy_vision import __version__
from shimmy_vision.adapters.http_line import Line
from shimmy_vision.adapters.system_names import Resolve, resolve_by_system, start_resolving
from shimmy_vision.domain.web.addresses import Address, check_addresses
from shimmy_vision.domain.web.allow_list import AllowList
from shimmy_vision.domain.web.refusal import Refused
from shimmy_vision.domain.web.urls import Allowed, check_redirect, check_url
from shimmy_vision.errors import DeadlineError, ImageError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.web_fetch import FetchLimits

OpenTransport: TypeAlias = Callable[[], httpx.BaseTransport]

_STEP_SECONDS = 10.0  # the longest wait for one connection or one piece
_REDIRECTS = frozenset((301, 302, 303, 307, 308))


class GuardedFetch:
    """``transport`` opens what speaks HTTP to the address that a request's URL names."""

    def __init__(
        self,
        allow: AllowList,
        *,
        resolve: Resolve = resolve_by_system,
        transport: OpenTransport | None = None,
    ) -> None:
        self._allow, self._resolve = allow, resolve
        self._transport = transport or _open_transport

    def fetch(self, url: str, limits: FetchLimits, cancellation: Cancellation) -> bytes:
        verdict = check_url(url, self._allow)
        if isinstance(verdict, Refused):
            raise _refused(verdict, first=True)
        trip = _Trip(limits, cancellation)
        with trip.clock(), closing(self._transport()) as transport:
            for hop in range(limits.max_redirects + 1):
                addresses = self._addresses(verdict, trip, first=hop == 0)
                answer = self._ask(transport, verdict, addresses, trip)
                if isinstance(answer, bytes):
                    return answer
                next_one = check_redirect(verdict.url, answer.headers["Location"], self._allow)
                if isinstance(next_one, Refused):
                    raise _refused(next_one, first=False)
                verdict = next_one
        raise ImageError(
            "fetch-redirects", f"The URL leads on more than {limits.max_redirects} times."
        )

    def _addresses(self, to: Allowed, trip: _Trip, *, first: bool) -> tuple[Address, ...]:
        """All judged; the name is not resolved again, not even for a redirect to the same host."""
        found = trip.resolve(self._resolve, to.host)
        if found is None:
            raise ImageError(
                "fetch-failed",
                f"{to.host} has no address.",
                hint="Check the URL and the network.",
                retryable=True,
            )
        addresses = check_addresses(to.host, to.port, found, self._allow)
        if isinstance(addresses, Refused):
            raise _refused(addresses, first=first)
        return addresses

    def _ask(
        self,
        transport: httpx.BaseTransport,
        to: Allowed,
        addresses: tuple[Address, ...],
        trip: _Trip,
    ) -> bytes | httpx.Response:
        """The body, or a redirect's answer without it; of the first address that answers."""
        *others, last = addresses
        with trip.errors(to.host):
            for address in others:
                trip.check()
                try:
                    return _ask_address(transport, to, address, trip)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
            return _ask_address(transport, to, last, trip)


def _ask_address(
    transport: httpx.BaseTransport, to: Allowed, address: Address, trip: _Trip
) -> bytes | httpx.Response:
    named = httpx.URL(to.url)
    headers = {
        "Host": named.netloc.decode("ascii"),
        "User-Agent": f"shimmy-vision/{__version__}",
        "Accept": "image/*, application/pdf, */*;q=0.1",
        # Packed answers could grow without end.
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    wait = min(_STEP_SECONDS, trip.limits.max_seconds)
    extensions = {
        "sni_hostname": to.host,  # what the certificate must name
        "trace": trip.line.trace,
        "timeout": httpx.Timeout(wait).as_dict(),
    }
    request = httpx.Request(
        "GET", named.copy_with(host=str(address)), headers=headers, extensions=extensions
    )
    with closing(transport.handle_request(request)) as response:
        trip.check()
        if response.status_code in _REDIRECTS and response.headers.get("Location"):
            return response
        _check_answer(response, to.host)
        return trip.read(response)


@dataclass(slots=True)
class _Trip:
    """One fetch with everything it takes: its limits, its line, its end."""

    limits: FetchLimits
    cancellation: Cancellation
    line: Line = field(default_factory=Line)
    ended: threading.Event = field(default_factory=threading.Event)
    deadline: float = 0.0
    pins: dict[str, Sequence[str] | None] = field(default_factory=dict)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """From here on: hang up when the time is over or the work is stopped."""
        self.deadline = time.monotonic() + self.limits.max_seconds
        timer = threading.Timer(self.limits.max_seconds, self._end)
        timer.daemon = True
        with self.cancellation.when_cancelled(self._end):
            timer.start()
            try:
                yield
            finally:
                timer.cancel()

    def _end(self) -> None:
        self.ended.set()
        self.line.hang_up()

    def check(self) -> None:
        """Raise what ended the trip, if something did."""
        self.cancellation.check()
        if time.monotonic() >= self.deadline:
            raise DeadlineError(
                "fetch-timeout",
                f"The URL was not fetched within {self.limits.max_seconds:g} s.",
                retryable=True,
            )

    def resolve(self, resolve: Resolve, host: str) -> Sequence[str] | None:
        """Once for each name, on a thread that is left behind when the trip ends."""
        self.check()
        if host in self.pins:
            return self.pins[host]
        found: list[Sequence[str] | None] = []
        settled = threading.Condition()

        def done(addresses: Sequence[str] | None) -> None:
            with settled:
                found.append(addresses)
                settled.notify()

        start_resolving(resolve, host, done)
        with settled:
            while not found and not self.ended.is_set():
                settled.wait(0.05)
        self.check()
        self.pins[host] = found[0]
        return found[0]

    def read(self, response: httpx.Response) -> bytes:
        """The body, never more of it than is allowed."""
        pieces, size = [], 0
        for piece in response.iter_raw():
            self.check()
            size += len(piece)
            if size > self.limits.max_bytes:
                raise _too_large(self.limits)
            pieces.append(piece)
        return b"".join(pieces)

    @contextmanager
    def errors(self, host: str) -> Iterator[None]:
        """The one place where httpx's failures become ours."""
        try:
            yield
        except httpx.TimeoutException as error:
            self.check()
            raise _failed(f"{host} does not answer", error) from error
        except httpx.TransportError as error:
            # A line that was hung up on looks like one that broke.
            self.check()
            raise _failed(f"The connection to {host} failed", error) from error


def _open_transport() -> httpx.BaseTransport:
    """Certificates as httpx knows them, nothing from the environment, no connection kept."""
    return httpx.HTTPTransport(
        verify=httpx.create_ssl_context(trust_env=False),
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
    )


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


def _refused(refused: Refused, *, first: bool) -> UsageError | ImageError:
    if first:
        return UsageError("url-refused", f"The URL is refused: {refused.reason}.")
    return ImageError("redirect-refused", f"The URL leads where it may not: {refused.reason}.")


def _too_large(limits: FetchLimits) -> ImageError:
    return ImageError(
        "fetch-too-large", f"The URL's content is larger than {limits.max_bytes / 1e6:g} MB."
    )


def _failed(what: str, error: Exception) -> ImageError:
    certificate = isinstance(error.__context__, ssl.SSLError) or "CERTIFICATE" in str(error)
    reason = "its certificate is not valid" if certificate else type(error).__name__
    return ImageError(
        "fetch-failed",
        f"{what}: {reason}.",
        hint="Check the URL and the network.",
        retryable=not certificate,
    )
