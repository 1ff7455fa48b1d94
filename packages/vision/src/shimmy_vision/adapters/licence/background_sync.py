"""Runs a piece of work on one background thread whenever it is poked; pokes while busy merge."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress


class BackgroundSync:
    """``work`` may raise: what could not be reported now is reported later."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self._changed = threading.Condition()
        self._poked = False
        self._closing = False
        self._thread: threading.Thread | None = None

    def poke(self) -> None:
        """Have the work done soon, from its beginning."""
        with self._changed:
            self._poked = True
            if self._thread is None and not self._closing:
                # A daemon: a server that does not answer must not keep a finished program alive.
                self._thread = threading.Thread(target=self._run, name="shimmy-sync", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self, wait: float) -> None:
        """Let the work that was asked for end, for up to ``wait`` seconds."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(wait)

    def _run(self) -> None:
        while self._await_poke():
            # Whatever it was, the next page must not find nobody here.
            with suppress(Exception):
                self._work()

    def _await_poke(self) -> bool:
        """False once there will be no more."""
        with self._changed:
            self._changed.wait_for(lambda: self._poked or self._closing)
            poked, self._poked = self._poked, False
            return poked
