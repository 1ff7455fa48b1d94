"""The connection of one exchange, so that another thread can hang up while this one waits."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


class Line:
    """Give ``trace`` to httpx as the request's extension of that name."""

    def __init__(self) -> None:
        self._down = False
        self._socket: socket.socket | None = None

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """httpcore's tracing: each new connection, then its encrypted form, passes here."""
        if event.endswith((".connect_tcp.complete", ".start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self._down:
                self.hang_up()

    def hang_up(self) -> bool:
        """Now, or as soon as there is a connection; whether there has been one.

        Without one nothing has been sent, nor will be.
        """
        self._down = True
        connected = self._socket
        if connected is not None:
            with suppress(OSError):
                # The plain socket's own: closing would not wake a thread that waits in recv,
                # and SSLSocket's would take the session away from under it.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)
        return connected is not None
