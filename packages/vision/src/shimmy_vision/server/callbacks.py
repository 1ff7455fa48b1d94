"""Finished jobs told to where their clients want to hear of them. No URL is ever logged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

from anyio.to_thread import run_sync

from shimmy_vision.domain.serving.callback_signature import HEADER, sign_callback
from shimmy_vision.errors import ShimmyError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.web_post import WebPost
from shimmy_vision.server.logs import logger_of

_LOG = logger_of("shimmy_vision.callbacks")
# One that does not answer keeps a thread for so long; more than so many at once keep others waiting
# for theirs, and no thread of anything else.
_TRY_SECONDS = 10.0
_AT_ONCE = 8
_WAITS = (1.0, 5.0, 25.0)


@dataclass(slots=True)
class Delivery:
    """One callback: how far it is, how often it was tried, and why the last try failed."""

    url: str = field(repr=False)
    status: Literal["waiting", "delivering", "delivered", "failed"] = "waiting"
    attempts: int = 0
    code: str | None = None
    switch: Cancellation = field(default_factory=Cancellation)

    def state(self) -> dict[str, Any]:
        """As the job's state shows it."""
        return {"status": self.status, "attempts": self.attempts, "code": self.code}


class Callbacks:
    """``secret`` signs them, without it there are none; ``waits`` are seconds before further tries.

    For one event loop.
    """

    def __init__(self, post: WebPost, secret: str | None, waits: Sequence[float] = _WAITS) -> None:
        self._post, self._secret, self._waits = post, secret, tuple(waits)
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def order(self, url: str) -> Delivery:
        """A delivery for later. Raises UsageError: callback-secret-missing, url-refused,

        url-offline.
        """
        if self._secret is None:
            raise unsigned_callback()
        self._post.check(url)
        return Delivery(url)

    async def deliver(self, delivery: Delivery, message: Callable[[], bytes]) -> None:
        """Try until it is accepted, refused for good or tried often enough.

        ``message`` is written anew for each try, so that it takes no memory between them.
        """
        delivery.status = "delivering"
        for wait in (*self._waits, None):
            delivery.attempts += 1
            delivery.code, again = await self._try(delivery, message)
            if delivery.code is None or not again or wait is None:
                break
            await asyncio.sleep(wait)
        delivery.status = "delivered" if delivery.code is None else "failed"
        _LOG.info("callback", status=delivery.status, attempts=delivery.attempts)

    async def _try(
        self, delivery: Delivery, message: Callable[[], bytes]
    ) -> tuple[str | None, bool]:
        """Why it failed, None if it did not, and whether it may go better later."""
        try:
            async with self._turn:
                status = await run_sync(self._send, delivery, message())
        except ShimmyError as error:
            return error.code, error.retryable
        except Exception:  # noqa: BLE001 - whatever it is, the job's state tells of it
            _LOG.exception("callback-crashed")
            return "internal", False
        if 200 <= status < 300:
            return None, False
        again = status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS
        return f"http-{status}", again

    def _send(self, delivery: Delivery, body: bytes) -> int:
        # Signed anew for each try: the receiver refuses what is old.
        signature = sign_callback(body, self._secret or "", int(time.time()))
        headers = {"Content-Type": "application/json", HEADER: signature}
        return self._post.post(delivery.url, body, headers, _TRY_SECONDS, delivery.switch)


def unsigned_callback() -> UsageError:
    """Nobody could tell such a callback from a forged one."""
    return UsageError(
        "callback-secret-missing",
        "This server has no secret to sign callbacks with.",
        hint="Start it with SHIMMY_CALLBACK_SECRET=$(openssl rand -hex 32), or ask for the job's "
        "state instead.",
    )
