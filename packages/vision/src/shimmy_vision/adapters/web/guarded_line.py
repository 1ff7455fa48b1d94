"""A forward proxy on loopback that a browser's whole traffic goes through.

Every request is judged by its URL; a name is resolved once for the whole visit, every address it
has is judged, and the connection goes to one of these: nobody resolves again, so no second answer
can differ. HTTPS passes as a tunnel to such an address; what is inside stays between the browser
and the server. Who does not know the credential made for this visit gets nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, TypeAlias

import h11

from shimmy_vision.adapters.web.line_exchange import BadUpstream, Client, forward, tunnel
from shimmy_vision.adapters.web.system_names import Resolve, resolve_by_system, start_resolving
from shimmy_vision.domain.web.addresses import Address, check_addresses
from shimmy_vision.domain.web.allow_list import AllowList
from shimmy_vision.domain.web.refusal import Refused
from shimmy_vision.domain.web.urls import Allowed, Verdict, check_authority, check_url
from shimmy_vision.domain.web.visit import Tally, VisitLimits

Streams: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Dial: TypeAlias = Callable[[str, int], Awaitable[Streams]]

_HEAD_SECONDS, _RESOLVE_SECONDS, _CONNECT_SECONDS = 20.0, 10.0, 10.0
_MOST_REFUSALS = 100
_USER = "shimmy"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that was not let through; ``host`` is empty where none could be read."""

    host: str
    port: int
    reason: str


class GuardedLine:
    """Open while the ``with`` block lasts; one for each visit."""

    def __init__(
        self,
        allow: AllowList,
        limits: VisitLimits,
        *,
        resolve: Resolve = resolve_by_system,
        dial: Dial = asyncio.open_connection,
    ) -> None:
        self._allow, self._resolve, self._dial = allow, resolve, dial
        self._tally = Tally(limits)
        self._pins: dict[str, asyncio.Future[list[str] | None]] = {}
        self._refusals: list[Refusal] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._started: Future[str] = Future()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="guarded-line", daemon=True)
        self.username, self.password = _USER, secrets.token_urlsafe(24)
        token = base64.b64encode(f"{self.username}:{self.password}".encode())
        self._credential = b"Basic " + token

    def __enter__(self) -> Self:
        """Raises OSError where this machine gives no port."""
        self._thread.start()
        self.address = self._started.result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """What was not let through, the first hundred."""
        return tuple(self._refusals)

    @property
    def exceeded(self) -> str:
        """Which limit the visit ran into, in words; empty if none."""
        return self._tally.exceeded

    @property
    def taken_bytes(self) -> int:
        """Bytes that went through so far, in both directions."""
        return self._tally.taken_bytes

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._started.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()[:2]
        self._loop.call_later(self._tally.limits.max_seconds, self._end_time)
        self._started.set_result(f"{host}:{port}")
        await self._stop.wait()
        server.close()
        self._hang_up()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _end_time(self) -> None:
        self._tally.end_time()
        self._hang_up()

    def _hang_up(self) -> None:
        for client in self._clients:
            client.cancel()

    def _count(self, taken: int) -> None:
        """For every piece that is to pass. Raises EOFError with the one that is too much."""
        if not self._tally.add_bytes(taken):
            self._hang_up()
            # At once: being cancelled shows only where there is something to wait for.
            raise EOFError

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._clients.add(task)
        client = Client(reader, writer, self._count)
        try:
            await self._converse(client)
        except (OSError, EOFError, TimeoutError, h11.ProtocolError):
            client.abort()
        except asyncio.CancelledError:
            # Hung up on, at a limit or at the end: nothing waits for this task but the end itself.
            client.abort()
        finally:
            self._clients.discard(task)
            await client.close()

    async def _converse(self, client: Client) -> None:
        """One request a connection, so that no request can hide behind another."""
        request = await asyncio.wait_for(client.read_head(), _HEAD_SECONDS)
        if request is None:
            return
        if not self._is_ours(request):
            await client.reply(407, "", [("Proxy-Authenticate", 'Basic realm="shimmy"')])
            return
        if not self._tally.add_request():
            await client.reply(413, f"The visit took {self._tally.exceeded}.")
            return
        verdict = self._judge(request)
        if isinstance(verdict, Refused):
            await self._refuse(client, Refusal("", 0, verdict.reason))
            return
        await self._pass_on(client, request, verdict)

    def _is_ours(self, request: h11.Request) -> bool:
        given = [value for name, value in request.headers if name == b"proxy-authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._credential)

    def _judge(self, request: h11.Request) -> Verdict:
        target = request.target.decode("latin-1")
        if request.method == b"CONNECT":
            return check_authority(target, self._allow)
        if not target.lower().startswith("http://"):
            return Refused("the request is not for a plain HTTP address")
        return check_url(target, self._allow)

    async def _pass_on(self, client: Client, request: h11.Request, to: Allowed) -> None:
        addresses = await self._addresses(to)
        if isinstance(addresses, Refused):
            await self._refuse(client, Refusal(to.host, to.port, addresses.reason))
            return
        upstream = await self._connect(addresses, to.port)
        if upstream is None:
            await client.reply(502, f"{to.host} does not answer.")
            return
        reader, writer = upstream
        try:
            if request.method == b"CONNECT":
                await tunnel(client, reader, writer)
            else:
                await forward(client, request, to.url, reader, writer)
        except BadUpstream:
            await client.reply(502, f"{to.host} does not speak HTTP.")
        finally:
            writer.transport.abort()

    async def _refuse(self, client: Client, refusal: Refusal) -> None:
        if len(self._refusals) < _MOST_REFUSALS:
            self._refusals.append(refusal)
        await client.reply(403, f"Refused: {refusal.reason}.")

    async def _addresses(self, to: Allowed) -> tuple[Address, ...] | Refused:
        """Judged for each port anew, as the allow-list may name one; resolved once."""
        pin = self._pins.get(to.host)
        if pin is None:
            pin = self._pins[to.host] = self._loop.create_future()
            start_resolving(self._resolve, to.host, partial(self._pin, to.host))
        try:
            found = await asyncio.wait_for(asyncio.shield(pin), _RESOLVE_SECONDS)
        except TimeoutError:
            found = None
        return check_addresses(to.host, to.port, found or (), self._allow)

    def _pin(self, host: str, found: object) -> None:
        """Called on the resolving thread; the line may be closed by then."""

        def settle() -> None:
            kept = [str(one) for one in found] if isinstance(found, (list, tuple)) else None
            self._pins[host].set_result(kept)

        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(settle)

    async def _connect(self, addresses: tuple[Address, ...], port: int) -> Streams | None:
        for address in addresses:
            with suppress(OSError, TimeoutError):
                return await asyncio.wait_for(self._dial(str(address), port), _CONNECT_SECONDS)
        return None
