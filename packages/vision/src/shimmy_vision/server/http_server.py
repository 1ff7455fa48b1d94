"""Uvicorn as this server runs it: our protocols, and a stop that has one deadline."""

from __future__ import annotations

import asyncio
import math
import socket

import uvicorn
from starlette.types import ASGIApp

from shimmy_vision.server.app_state import STATE, AppState
from shimmy_vision.server.http_protocol import HttpProtocol
from shimmy_vision.server.socket_protocol import SocketProtocol

# At the deadline everybody is told; what has not answered then is cut off so much later.
_GRACE_SECONDS = 3


class HttpServer(uvicorn.Server):
    """``longest_message`` in bytes bounds what comes through a WebSocket."""

    def __init__(self, app: ASGIApp, drain_seconds: float, longest_message: int) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            # Uvicorn's own lines hold addresses; the app writes its own.
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=math.ceil(drain_seconds) + _GRACE_SECONDS,
            http=HttpProtocol,
            ws=SocketProtocol,
            ws_max_size=longest_message,
            # What is sent is an image or small, and a packed one could grow.
            ws_per_message_deflate=False,
        )
        super().__init__(config)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """The app hears of it first, and not when all connections have ended."""
        state: AppState | None = self.lifespan.state.get(STATE)
        if state is not None:
            if state.options.leave_seconds:
                await self._leave(sockets or [], state.options.leave_seconds)
            state.ending.begin()
        await super().shutdown(sockets)

    async def _leave(self, sockets: list[socket.socket], seconds: float) -> None:
        """A proxy that finds nobody here asks another host; what it had sent before is taken."""
        for server in self.servers:
            server.close()
        for one in sockets:
            one.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpProtocol):
                connection.shutdown()
        await asyncio.sleep(seconds)
