"""Names to addresses as this machine resolves them, on a thread that may be left behind.

The system's resolver cannot be stopped and takes as long as it likes.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

Resolve: TypeAlias = Callable[[str], Sequence[str]]
"""Addresses of a name, in the order to try them; OSError where there is none."""


def resolve_by_system(host: str) -> Sequence[str]:
    """Every address the system knows for ``host``. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError("not a name") from error
    return [str(address[0]) for *_, address in found]


def start_resolving(
    resolve: Resolve, host: str, done: Callable[[Sequence[str] | None], None]
) -> None:
    """Call ``done`` on another thread: with the addresses, or None where there is none."""

    def work() -> None:
        try:
            found: Sequence[str] | None = resolve(host)
        except OSError:
            found = None
        done(found)

    threading.Thread(target=work, name="resolve", daemon=True).start()
