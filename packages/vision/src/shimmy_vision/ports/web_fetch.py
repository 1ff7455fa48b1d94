"""One file by its URL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from shimmy_vision.ports.cancellation import Cancellation

Appetite: TypeAlias = Callable[[bytes], int]
"""Asked once, with the first ``HEAD_BYTES`` of a body that has so many: how many may be read.

0 for no more than what came already. More than the limits allow is never read.
"""

HEAD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """``max_seconds`` for everything together, redirects included."""

    max_bytes: int = 50_000_000
    max_seconds: float = 30.0
    max_redirects: int = 5


class WebFetch(Protocol):
    """Fetches from the public internet, and from nowhere else unless the operator allows it."""

    def fetch(
        self,
        url: str,
        limits: FetchLimits,
        cancellation: Cancellation,
        appetite: Appetite | None = None,
    ) -> bytes:
        """The body of a successful answer, whatever it is; its beginning only where ``appetite``

        has no wish for more. Raises UsageError: url-refused, url-offline; ImageError:
        redirect-refused, fetch-failed, fetch-not-found, fetch-too-large, fetch-redirects,
        fetch-encoded; DeadlineError: fetch-timeout; or as ``cancellation``.
        """
        ...
