"""The ``Storefront`` port: pages over HTTP, as a browser without JavaScript gets them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from shimmy_ops.errors import DeskError

_BROWSER = {
    "Accept": "text/html,application/xhtml+xml",
    "User-Agent": "Mozilla/5.0 (compatible; shimmy-ops live-transaction)",
}


class HttpStorefront:
    """``client`` speaks to the store's own address and keeps no cookies that matter."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def begin_checkout(self, plan: str) -> str:
        with _errors("the store's way to pay"):
            reply = self._client.get("/buy", params={"plan": plan}, headers=_BROWSER)
        if not reply.has_redirect_location:
            busy = reply.status_code == httpx.codes.TOO_MANY_REQUESTS
            raise DeskError(
                "checkout-not-begun",
                f"The store leads nowhere to pay: it answers {reply.status_code}.",
                hint="Open its pricing page in a browser; `shimmy-ops preflight` says more.",
                retryable=busy or reply.is_server_error,
            )
        return str(reply.headers["location"])

    def status(self, url: str) -> int:
        with _errors("Stripe's portal"):
            return self._client.get(url, headers=_BROWSER, follow_redirects=True).status_code


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise DeskError(
            "page-unreachable",
            f"There is no answer from {what}: {type(error).__name__}.",
            hint="Is it running, and is store_url in the profile its address?",
            retryable=True,
        ) from None
