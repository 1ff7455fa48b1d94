"""WebSockets on a connection: uvicorn's, with what is on its way accounted for and timed.

A stop reaches those who talk through one: they are told, and not cut off.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame
from websockets.http11 import Response
from websockets.server import ServerProtocol

from shimmy_vision.errors import BusyError, UsageError
from shimmy_vision.server.app_state import STATE, AppState
from shimmy_vision.server.http_protocol import keep_alive, rules_of
from shimmy_vision.server.pace import Pace
from shimmy_vision.server.problems import crash_error, error_response
from shimmy_vision.server.unread import UnreadWatch
from shimmy_vision.server.waiting_line import BaggageAccount

if TYPE_CHECKING:
    from uvicorn._types import ASGIReceiveEvent, ASGISendEvent

# The ``code`` of a ``websocket.disconnect`` that no client can send, as none below 1000 is valid.
STOPPING = 0
_TRY_AGAIN_LATER, _POLICY = 1013, 1008
# What a piece of a message takes besides its bytes: many small ones are more than they look.
_PIECE = 64
# Who is cut off while sending may not see why.
_LINGER_SECONDS = 2.0


class _Handshake(ServerProtocol):
    """Refusals in our shape."""

    def reject(self, status: Any, text: str) -> Response:
        response = super().reject(status, text)
        error = (
            UsageError("http-malformed", "This is no WebSocket's handshake.", hint="See RFC 6455.")
            if response.status_code < 500
            else crash_error()
        )
        response.body = bytes(error_response(error).body)
        for name, value in (
            ("Content-Length", str(len(response.body))),
            ("Content-Type", "application/json"),
        ):
            del response.headers[name]
            response.headers[name] = value
        return response


class SocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's own closes at once with 1012 at a stop, and what is under way would be lost."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        state: AppState | None = self.app_state.get(STATE)
        self._account = None if state is None else BaggageAccount(state.baggage)
        self._rules = rules_of(self.app_state)
        self._pieces = 0
        self._handed: list[int] = []
        self._pace: Pace | None = None
        self._slow: asyncio.TimerHandle | None = None
        # Nothing that comes is compressed: what is sent is an image or small, and could grow.
        self.conn = _Handshake(
            max_size=self.config.ws_max_size, logger=logging.getLogger("uvicorn.error")
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As for HTTP."""
        super().connection_made(transport)
        self._unread = UnreadWatch(self.transport, self._rules.unread_seconds)
        keep_alive(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give everything back, at once and not when the collector finds the circle."""
        self._unread.end()
        self._wait_for_no_more()
        super().connection_lost(exc)
        self._forget()
        self.conn.parser.close()

    def data_received(self, data: bytes) -> None:
        """Accounted for while it is put together."""
        super().data_received(data)
        if self.close_sent or self.transport.is_closing():
            return
        self._settle()
        if self._unfinished:
            self._time(len(data))
        else:
            self._wait_for_no_more()

    def handle_text(self, event: Frame) -> None:
        """The beginning of a message, or all of it."""
        self._pieces += len(event.data) + _PIECE
        super().handle_text(event)

    def handle_bytes(self, event: Frame) -> None:
        """The beginning of a message, or all of it."""
        self._pieces += len(event.data) + _PIECE
        super().handle_bytes(event)

    def handle_cont(self, event: Frame) -> None:
        """A further piece."""
        self._pieces += len(event.data) + _PIECE
        super().handle_cont(event)

    def send_receive_event_to_app(self) -> None:
        """Whole: it stays on our account until the app has it."""
        size, self._pieces = self._pieces, 0
        super().send_receive_event_to_app()
        if not self.close_sent:
            self._handed.append(size)

    async def receive(self) -> ASGIReceiveEvent:
        """The app has an account of its own for what it takes."""
        message = await super().receive()
        if message["type"] == "websocket.receive" and self._handed:
            self._handed.pop(0)
            self._settle()
            if self._unfinished and self._slow is None and not self.close_sent:
                self._time(0)
        return message

    async def send(self, message: ASGISendEvent) -> None:
        """After a close of ours there is nobody to talk to, as after one of the client's."""
        if self.close_sent and message["type"] == "websocket.send":
            raise ClientDisconnected
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            # A refusal that was told is an end: uvicorn would log it as a mistake of the app's.
            self.handshake_complete = True

    async def run_asgi(self) -> None:
        """The end of it may leave something unsent that nobody takes."""
        await super().run_asgi()
        if not self.disconnected:
            self._unread.begin()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()
        self._unread.begin()

    def resume_writing(self) -> None:
        """It has taken most of it."""
        super().resume_writing()
        self._unread.moved()

    def shutdown(self) -> None:
        """The app hears of the stop and closes when it has said everything."""
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
        else:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": STOPPING})

    @property
    def _unfinished(self) -> bool:
        return bool(self._pieces or self.conn.reader.buffer)

    def _settle(self) -> None:
        """What is here and not yet the app's, on the account."""
        if self._account is None or self.disconnected:
            return
        here = sum(self._handed) + self._pieces + len(self.conn.reader.buffer)
        try:
            self._account.set(here)
        except BusyError as error:
            # Of a whole one, which is no larger than what is read at once, the app says so.
            if self._unfinished:
                self._close(_TRY_AGAIN_LATER, error.code)

    def _time(self, count: int) -> None:
        now = self.loop.time()
        if self._slow is not None:
            self._slow.cancel()
        if self._pace is None:
            self._pace = Pace(self._rules.patience, now)
        self._pace.hear(count)
        self._slow = self.loop.call_later(self._pace.left(now), self._message_is_late)

    def _wait_for_no_more(self) -> None:
        self._pace = None
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _message_is_late(self) -> None:
        self._slow = None
        # While we take nothing, it is not the client who is slow.
        if self.read_paused:
            self._pace = None
        elif not self.close_sent and not self.transport.is_closing():
            self._close(_POLICY, "message-too-slow")

    def _close(self, code: int, reason: str) -> None:
        """Say why, and take what still comes for a moment without keeping it."""
        self._wait_for_no_more()
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
        self.conn.fail(code, reason)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self._forget()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        self.close_timer = self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _forget(self) -> None:
        self._pieces = 0
        self._handed.clear()
        self.frames = []
        self.conn.reader.buffer.clear()
        if self._account is not None:
            self._account.set(0)
