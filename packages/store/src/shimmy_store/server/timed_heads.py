"""HTTP/1.1 on a connection: uvicorn's, whose heads may not be slow.

Uvicorn waits for ever for a request that was begun or never comes, and every connection counts
against the store's limit: a few hundred silent ones would lock everybody out.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nCache-Control: no-store\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class TimedHeads(H11Protocol):
    """``head_seconds``: from the connection, or the answer before, to the end of the next head."""

    head_seconds: ClassVar[float] = 15.0
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Counted before anything is read."""
        super().connection_made(transport)
        self._time_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer may outlive it."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A head in pieces has no more time than one that is silent."""
        super().data_received(data)
        self._time_head()

    def on_response_complete(self) -> None:
        """The next head's time begins."""
        super().on_response_complete()
        self._time_head()

    @property
    def _waits(self) -> bool:
        """Whether no request is under way."""
        done = self.cycle is None or self.cycle.response_complete
        return done and not self.transport.is_closing()

    def _time_head(self) -> None:
        if not self._waits:
            self._stop()
        elif self._late is None:
            self._late = self.loop.call_later(self.head_seconds, self._head_is_late)

    def _head_is_late(self) -> None:
        self._late = None
        if not self._waits:
            return
        begun, _ = self.conn.trailing_data
        if begun:
            self.transport.write(_LATE)
        self.transport.close()

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
