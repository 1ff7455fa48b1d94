"""One switch that stops a piece of work from any thread, and says why."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from shimmy_vision.errors import DeadlineError, StoppedError

Reason = Literal["interrupted", "deadline"]


class Cancellation:
    """Thrown once by anyone; watched by the native code through ``when_cancelled``."""

    def __init__(self) -> None:
        # Re-entrant: Ctrl-C may arrive while this very thread throws the switch for a deadline.
        self._lock = threading.RLock()
        self._reason: Reason | None = None
        self._watchers: list[Callable[[], object]] = []

    @property
    def reason(self) -> Reason | None:
        return self._reason

    def cancel(self, reason: Reason) -> None:
        """Stop the work. The first reason given stays."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            watchers = tuple(self._watchers)
        for watcher in watchers:
            watcher()

    @contextmanager
    def when_cancelled(self, watcher: Callable[[], object]) -> Iterator[None]:
        """Call ``watcher`` once if the switch is thrown inside the block (or was before)."""
        with self._lock:
            self._watchers.append(watcher)
            thrown = self._reason is not None
        if thrown:
            watcher()
        try:
            yield
        finally:
            with self._lock:
                self._watchers.remove(watcher)

    def check(self) -> None:
        """Raise StoppedError or DeadlineError if the switch was thrown."""
        if self._reason is not None:
            raise stop_error(self._reason)


def stop_error(reason: Reason) -> StoppedError:
    """What is raised by work that was stopped for ``reason``; a DeadlineError for a deadline."""
    if reason == "interrupted":
        return StoppedError("interrupted", "The analysis was interrupted.")
    return DeadlineError(
        "deadline-exceeded",
        "The analysis did not finish in the time allowed.",
        hint="Raise --timeout, use --mode brief, or lower --max-tokens.",
        retryable=True,
    )
