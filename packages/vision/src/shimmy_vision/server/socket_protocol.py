"""How a stop reaches those who talk through a WebSocket: told, and not cut off."""

from __future__ import annotations

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

# The ``code`` of a ``websocket.disconnect`` that no client can send, as none below 1000 is valid.
STOPPING = 0


class SocketProtocol(WebSocketsSansIOProtocol):
    """Uvicorn's own closes at once with 1012, and what is under way would be lost."""

    def shutdown(self) -> None:
        """The app hears of the stop and closes when it has said everything."""
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
        else:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": STOPPING})
