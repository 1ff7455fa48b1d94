"""What simulators that answer in the event loop have in common: a request's body, a reply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import Receive


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A reply ready to send."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def read_body(receive: Receive) -> bytes | None:
    """The whole body of a request; None when the client went away before its end."""
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body
