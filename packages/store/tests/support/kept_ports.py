"""Ports on loopback for servers that have to be told theirs."""

from __future__ import annotations

import socket

_held: list[socket.socket] = []


def free_port() -> int:
    """One that nobody listens on, and that nobody else is given while this process lives.

    It is bound and never listened on: no connection goes out from it, no other search for a free
    one finds it, and a server that names it may bind it all the same, as those may that come again.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _held.append(held)
    return int(held.getsockname()[1])
