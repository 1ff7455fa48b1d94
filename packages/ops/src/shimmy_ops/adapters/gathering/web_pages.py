"""Pages as anybody sees them: the one place that translates what goes wrong on the way."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from statistics import median

import httpx
import stripe

from shimmy_ops.domain.preflight.facts import Page, SitePage
from shimmy_ops.errors import DeskError

# A Date header tells whole seconds, cut off.
_HALF_SECOND = 0.5
_MOST_LINKS = 1000


class WebPages:
    """``client`` gives no token by itself."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def look(self, url: str, headers: Mapping[str, str], tries: int = 1) -> Page:
        """Redirects are not followed."""
        seen = [self._timed(url, headers) for _ in range(tries)]
        reply = seen[-1][0]
        seconds = median(taken for _, taken in seen)
        return Page(reply.status_code, dict(reply.headers), reply.text, seconds)

    def _timed(self, url: str, headers: Mapping[str, str]) -> tuple[httpx.Response, float]:
        began = time.perf_counter()
        return self._ask("GET", url, headers=headers), time.perf_counter() - began

    def status(self, url: str, headers: Mapping[str, str], *, follow: bool = False) -> int:
        """What it is answered."""
        return self._ask("GET", url, headers=headers, follow_redirects=follow).status_code

    def links(self, url: str) -> SitePage:
        """Where a page leads, and its status after redirects."""
        reply = self._ask("GET", url, follow_redirects=True)
        found = re.findall(r'href="([^"]*)"', reply.text)[:_MOST_LINKS]
        return SitePage(reply.status_code, tuple(html.unescape(one) for one in found))

    def deliver(self, url: str, body: bytes, secret: str, now: datetime) -> int:
        """Post an event as Stripe does, signed with ``secret``; the status it is answered."""
        signed = stripe.WebhookSignature.generate_signature_header(
            body.decode(), secret, int(now.timestamp())
        )
        headers = {"Stripe-Signature": str(signed), "Content-Type": "application/json"}
        return self._ask("POST", url, headers=headers, content=body).status_code

    def skew(self, url: str, clock: Callable[[], datetime]) -> float:
        """Seconds that the server's clock is ahead of ours. Raises DeskError."""
        before = clock()
        reply = self._ask("GET", url)
        middle = before + (clock() - before) / 2
        try:
            said = parsedate_to_datetime(reply.headers["date"]).astimezone(UTC)
        except (KeyError, ValueError) as error:
            raise DeskError("date-missing", "The answer does not say what time it is.") from error
        return (said - middle).total_seconds() + _HALF_SECOND

    def _ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        follow_redirects: bool = False,
    ) -> httpx.Response:
        with _errors():
            return self._client.request(
                method, url, headers=headers, content=content, follow_redirects=follow_redirects
            )


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DeskError(
            "page-unreachable",
            f"There was no answer: {type(error).__name__}.",
            hint="Is the server running, and is its address in the profile right?",
            retryable=True,
        ) from None
