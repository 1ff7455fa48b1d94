"""The ``Witness`` port over HTTP: what does not answer is an answer, too."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

import httpx

from shimmy_ops.domain.releases.smoke import Answers, Page
from shimmy_ops.ports.store_desk import Document

_PAUSE_SECONDS = 0.25


class HttpWitness:
    """``figures`` asks the store's operator desk, None where that is not to be had."""

    def __init__(
        self,
        store: httpx.Client,
        site: httpx.Client | None,
        figures: Callable[[], Document | None],
        patience_seconds: float,
    ) -> None:
        self._store = store
        self._site = site
        self._figures = figures
        self._patience = patience_seconds
        self._until = 0.0

    def answers(self, paths: tuple[str, ...], *, site: bool, started: bool) -> Answers:
        pages = {path: self._page(path) for path in paths}
        index = self._index() if site else ""
        return Answers(pages, index, self.started() if started else "")

    def schema(self) -> int | None:
        told = (self._figures() or {}).get("schema")
        return told if isinstance(told, int) else None

    def started(self) -> str:
        return str((self._figures() or {}).get("started", ""))

    def pause(self) -> bool:
        left = self._until - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(_PAUSE_SECONDS, left))
        return True

    def begin(self) -> None:
        self._until = time.monotonic() + self._patience

    def _page(self, path: str) -> Page:
        try:
            reply = self._store.get(path)
        except httpx.HTTPError:
            return Page(0)
        return Page(reply.status_code, reply.text)

    def _index(self) -> str:
        if self._site is None:
            return ""
        try:
            reply = self._site.get("")
        except httpx.HTTPError:
            return ""
        return hashlib.sha256(reply.content).hexdigest() if reply.is_success else ""
