"""One message to a URL that a stranger named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from shimmy_vision.ports.cancellation import Cancellation


class WebPost(Protocol):
    """Posts to the public internet, and to nowhere else unless the operator allows it."""

    def check(self, url: str) -> None:
        """What can be said without resolving its name. Raises UsageError: url-refused,

        url-offline.
        """
        ...

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        max_seconds: float,
        cancellation: Cancellation,
    ) -> int:
        """The status of the answer, whose body is not read; redirects are not followed.

        Raises as ``check``; UsageError url-refused for where its name leads; ImageError
        fetch-failed; DeadlineError fetch-timeout; or as ``cancellation``.
        """
        ...
