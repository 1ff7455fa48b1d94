"""Whether what came to a callback's address was sent by a Shimmy Vision server."""

from __future__ import annotations

import time

# The one module of the product that is used here: pure, and the very rule the server signs by.
from shimmy_vision.domain.serving.callback_signature import TOLERANCE, find_forgery


class CallbackRefused(ValueError):  # noqa: N818 - its base says that it is an error
    """The signature is missing, too old, or of another body or secret."""


def check_callback(
    body: bytes, header: str, secret: str, now: float | None = None, tolerance: float = TOLERANCE
) -> None:
    """Accept ``body``, exactly as it came, or raise CallbackRefused.

    ``header`` is the value of ``Shimmy-Signature``: ``t=<unix seconds>,v1=<hex>``, where each v1
    is an HMAC-SHA256 of ``t.body`` under ``secret``; several of them may stand there while a
    secret is changed. ``now`` in Unix seconds; more than ``tolerance`` seconds away is refused, so
    that nobody can send an old callback again.
    """
    reason = find_forgery(body, header, secret, time.time() if now is None else now, tolerance)
    if reason is not None:
        raise CallbackRefused(reason)
