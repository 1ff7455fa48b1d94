"""HTTP/1.1 on a connection: uvicorn's, with limits on time and number, and errors in our shape."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from shimmy_vision.errors import BusyError, ShimmyError, UsageError
from shimmy_vision.server.app_state import STATE, AppState
from shimmy_vision.server.guard import GuardRules
from shimmy_vision.server.problems import error_response
from shimmy_vision.server.unread import UnreadWatch

# So many beyond the limit are told so; those after them are cut off, as files are few.
_SPARE = 50
_LINGER_SECONDS = 1.0
# A peer that vanished without a word is noticed after about two minutes.
_KEEP_ALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4))


class HttpProtocol(H11Protocol):
    """The app's own rules come through the state that its lifespan yields."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counted before anything is read."""
        super().connection_made(transport)
        self._rules = rules_of(self.app_state)
        self._unread = UnreadWatch(transport, self._rules.unread_seconds)
        self._late: asyncio.TimerHandle | None = None
        self._upgraded = False
        self.idle_since = self.loop.time()
        keep_alive(transport)
        self._find_room()
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer may outlive it."""
        self._stop_timers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head in pieces has no more time than one that is silent."""
        super().data_received(data)
        self._time_head()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """From here on the connection is another protocol's."""
        self._upgraded = True
        self._stop_timers()
        super().handle_websocket_upgrade(event)

    def on_response_complete(self) -> None:
        """Idle from now on, but for what is still to be sent."""
        self.idle_since = self.loop.time()
        super().on_response_complete()
        self._unread.begin()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()
        self._unread.begin()

    def resume_writing(self) -> None:
        """It has taken most of it."""
        super().resume_writing()
        self._unread.moved()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, before or within a request."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if self.cycle.response_started:
                self.transport.close()
                return
        self._answer(
            UsageError("http-malformed", f"{msg}", hint="Is it a client that speaks HTTP/1.1?")
        )

    @property
    def idle(self) -> bool:
        """Whether nobody waits for anything on it."""
        if self._upgraded or self.transport.is_closing():
            return False
        done = self.cycle is None or self.cycle.response_complete
        return done and not self.transport.get_write_buffer_size()

    def _find_room(self) -> None:
        """The longest idle one goes first: else silent ones would lock everybody out."""
        most = self._rules.connections
        if len(self.connections) <= most:
            return
        others = [one for one in self.connections if one is not self]
        idle = [one for one in others if isinstance(one, HttpProtocol) and one.idle]
        if idle:
            min(idle, key=lambda one: one.idle_since).transport.close()
        elif len(self.connections) <= most + _SPARE:
            self.app = cast(Any, _refuse)
        else:
            self.transport.abort()

    def _time_head(self) -> None:
        if not self.idle:
            if self._late is not None:
                self._late.cancel()
                self._late = None
        elif self._late is None:
            self._late = self.loop.call_later(self._rules.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._late = None
        if not self.idle:
            return
        begun, _ = self.conn.trailing_data
        if begun:
            self._answer(
                UsageError(
                    "head-too-slow", "The request's head did not arrive in time.", retryable=True
                )
            )
        else:
            self.transport.close()

    def _answer(self, error: ShimmyError) -> None:
        self.transport.write(plain_response(error))
        self.transport.close()

    def _stop_timers(self) -> None:
        self._unread.end()
        if self._late is not None:
            self._late.cancel()
            self._late = None


def rules_of(app_state: dict[str, Any]) -> GuardRules:
    """The served app's, or the usual ones."""
    state: AppState | None = app_state.get(STATE)
    return GuardRules() if state is None else state.options.rules


def keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the system notice peers that are gone."""
    line: socket.socket | None = transport.get_extra_info("socket")
    if line is None or line.family not in (socket.AF_INET, socket.AF_INET6):
        return
    with suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE:
            # Not every system has all of them.
            if hasattr(socket, name):
                line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def plain_response(error: ShimmyError) -> bytes:
    """The error's whole answer, where no app gives it; the connection ends after it."""
    response = error_response(error)
    status = response.status_code
    response.headers["Connection"] = "close"
    response.headers["Cache-Control"] = "no-store"
    head = b"".join(b"%b: %b\r\n" % pair for pair in response.raw_headers)
    first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return first + head + b"\r\n" + bytes(response.body)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """For a connection too many."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            # Who is cut off while sending sees no answer.
            while (await receive()).get("more_body"):
                pass
    response = error_response(
        BusyError(
            "connections-too-many",
            "More connections are open than the server takes.",
            hint="Try again after the time in Retry-After, or keep fewer open.",
            retry_after=5.0,
        )
    )
    response.headers["Connection"] = "close"
    await response(scope, receive, send)
