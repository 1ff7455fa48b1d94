"""Clients that take nothing of what they are sent: cut off, or they would hold it for ever."""

from __future__ import annotations

import asyncio


class UnreadWatch:
    """Breaks a connection of whose unsent bytes nothing goes out for ``seconds``.

    The break is heard as any other, so that whoever works for the client stops.
    """

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport, self._seconds = transport, seconds
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._last: float = 0

    def begin(self) -> None:
        """There may be something unsent."""
        if self._timer is None and self._transport.get_write_buffer_size():
            self._last = self._transport.get_write_buffer_size()
            self._timer = self._loop.call_later(self._seconds, self._look)

    def moved(self) -> None:
        """Something went out; more may have come since."""
        self._last = float("inf")

    def end(self) -> None:
        """The connection is no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        left = self._transport.get_write_buffer_size()
        if left and left >= self._last:
            self._transport.abort()
        elif left:
            self.begin()
