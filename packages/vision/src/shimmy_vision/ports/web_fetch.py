"""One file by its URL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from shimmy_vision.ports.cancellation import Cancellation


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """``max_seconds`` for everything together, redirects included."""

    max_bytes: int = 50_000_000
    max_seconds: float = 30.0
    max_redirects: int = 5


class WebFetch(Protocol):
    """Fetches from the public internet, and from nowhere else unless the operator allows it."""

    def fetch(self, url: str, limits: FetchLimits, cancellation: Cancellation) -> bytes:
        """The body of a successful answer, whatever it is.

        Raises UsageError: url-refused; ImageError: redirect-refused, fetch-failed,
        fetch-not-found, fetch-too-large, fetch-redirects, fetch-encoded; DeadlineError:
        fetch-timeout; or as ``cancellation``.
        """
        ...
