"""Runs a piece of work on one background thread whenever it is poked; pokes while busy merge."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from shimmy_vision.errors import LicenceError


class BackgroundSync:
    """``work`` may raise LicenceError: what could not be reported now is reported later."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._poked = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def poke(self) -> None:
        """Have the work done soon."""
        if self._thread is None:
            # A daemon: a server that does not answer must not keep a finished program alive.
            self._thread = threading.Thread(target=self._run, name="shimmy-sync", daemon=True)
            self._thread.start()
        self._poked.set()

    def close(self, wait: float) -> None:
        """Let the work in progress end, for up to ``wait`` seconds."""
        self._closing = True
        self._poked.set()
        if self._thread is not None:
            self._thread.join(wait)

    def _run(self) -> None:
        while not self._closing:
            self._poked.wait()
            self._poked.clear()
            with suppress(LicenceError):
                self._work()
