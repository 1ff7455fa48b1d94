"""What every guarded exchange with the web has in common: its end, its addresses, its failures.

No cookies, no credentials, no proxies: a request carries nothing but what is written here. A
machine that reaches the world only through a proxy cannot do it, as nobody could pin an address.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

import httpx

from shimmy_vision import __version__
from shimmy_vision.adapters.http_line import Line
from shimmy_vision.adapters.web.system_names import Resolve, resolve_by_system, start_resolving
from shimmy_vision.domain.web.addresses import Address, check_addresses
from shimmy_vision.domain.web.allow_list import AllowList
from shimmy_vision.domain.web.refusal import Refused
from shimmy_vision.domain.web.urls import Allowed, check_url
from shimmy_vision.errors import DeadlineError, ImageError, UsageError
from shimmy_vision.ports.cancellation import Cancellation

OpenTransport: TypeAlias = Callable[[], httpx.BaseTransport]
T = TypeVar("T")

_STEP_SECONDS = 10.0  # the longest wait for one connection or one piece


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request without its address; ``headers`` besides those that every one has."""

    method: str
    headers: Mapping[str, str]
    content: bytes = b""


@dataclass(slots=True)
class Trip:
    """One exchange, redirects included, of ``seconds`` at most, with its line and its end."""

    seconds: float
    cancellation: Cancellation
    line: Line = field(default_factory=Line)
    ended: threading.Event = field(default_factory=threading.Event)
    deadline: float = 0.0
    pins: dict[str, Sequence[str] | None] = field(default_factory=dict)

    @contextmanager
    def clock(self) -> Iterator[None]:
        """From here on: hang up when the time is over or the work is stopped."""
        self.deadline = time.monotonic() + self.seconds
        timer = threading.Timer(self.seconds, self._end)
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
                f"The URL was not fetched within {self.seconds:g} s.",
                retryable=True,
            )

    def addresses(
        self, to: Allowed, allow: AllowList, resolve: Resolve, *, first: bool
    ) -> tuple[Address, ...]:
        """All judged; the name is not resolved again, not even for a redirect to the same host."""
        found = self._resolve(resolve, to.host)
        if found is None:
            raise ImageError(
                "fetch-failed",
                f"{to.host} has no address.",
                hint="Check the URL and the network.",
                retryable=True,
            )
        addresses = check_addresses(to.host, to.port, found, allow)
        if isinstance(addresses, Refused):
            raise url_refused(addresses, first=first)
        return addresses

    def _resolve(self, resolve: Resolve, host: str) -> Sequence[str] | None:
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

    def exchange(
        self,
        transport: httpx.BaseTransport,
        to: Allowed,
        addresses: tuple[Address, ...],
        outgoing: Outgoing,
        read: Callable[[httpx.Response], T],
    ) -> T:
        """What ``read`` makes of the answer of the first address that can be connected to."""
        *others, last = addresses
        with self._errors(to.host):
            for address in others:
                self.check()
                try:
                    return self._ask(transport, to, address, outgoing, read)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue
            return self._ask(transport, to, last, outgoing, read)

    def _ask(
        self,
        transport: httpx.BaseTransport,
        to: Allowed,
        address: Address,
        outgoing: Outgoing,
        read: Callable[[httpx.Response], T],
    ) -> T:
        named = httpx.URL(to.url)
        headers = {
            "Host": named.netloc.decode("ascii"),
            "User-Agent": f"shimmy-vision/{__version__}",
            **outgoing.headers,
            # Packed answers could grow without end.
            "Accept-Encoding": "identity",
            "Connection": "close",
        }
        extensions = {
            "sni_hostname": to.host,  # what the certificate must name
            "trace": self.line.trace,
            "timeout": httpx.Timeout(min(_STEP_SECONDS, self.seconds)).as_dict(),
        }
        request = httpx.Request(
            outgoing.method,
            named.copy_with(host=str(address)),
            headers=headers,
            content=outgoing.content or None,
            extensions=extensions,
        )
        with closing(transport.handle_request(request)) as response:
            self.check()
            return read(response)

    @contextmanager
    def _errors(self, host: str) -> Iterator[None]:
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


def open_transport() -> httpx.BaseTransport:
    """Certificates as httpx knows them, nothing from the environment, no connection kept."""
    return httpx.HTTPTransport(
        verify=httpx.create_ssl_context(trust_env=False),
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
    )


def url_refused(refused: Refused, *, first: bool) -> UsageError | ImageError:
    """The error for a URL that was named here, or that another one led to."""
    if first:
        return UsageError("url-refused", f"The URL is refused: {refused.reason}.")
    return ImageError("redirect-refused", f"The URL leads where it may not: {refused.reason}.")


class GuardedWay:
    """What leads only where it may; ``transport`` opens what speaks HTTP to the address that a

    request's URL names. ``offline`` forbids all of it.
    """

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

    def _judge(self, url: str) -> Allowed:
        """What can be said without resolving its name. Raises UsageError url-refused."""
        verdict = check_url(url, self._allow)
        if isinstance(verdict, Refused):
            raise url_refused(verdict, first=True)
        return verdict


def _failed(what: str, error: Exception) -> ImageError:
    certificate = isinstance(error.__context__, ssl.SSLError) or "CERTIFICATE" in str(error)
    reason = "its certificate is not valid" if certificate else type(error).__name__
    return ImageError(
        "fetch-failed",
        f"{what}: {reason}.",
        hint="Check the URL and the network.",
        retryable=not certificate,
    )
