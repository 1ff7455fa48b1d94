"""Pictures that many readers share: one thread makes them, any may ask for a window."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from shimmy_ops.domain.monitoring.picture import Picture
from shimmy_ops.domain.monitoring.windows import FIRST_WINDOW
from shimmy_ops.errors import OpsError

_FORGOTTEN_AFTER = 5  # intervals without a reader


@dataclass(frozen=True, slots=True)
class Shelved:
    """The newest picture, None before the first; ``trouble`` is why there is nothing newer."""

    picture: Picture | None
    trouble: str


class PictureShelf:
    """The first window is always kept fresh, others while somebody reads them."""

    def __init__(self, interval_seconds: float) -> None:
        self._interval = interval_seconds
        self._changed = threading.Condition()
        self._shelved: dict[str, Shelved] = {}
        self._sampled: dict[str, float] = {}
        self._read = {FIRST_WINDOW: time.monotonic()}
        self._waiting: Counter[str] = Counter()

    def read(self, window: str, patience_seconds: float) -> Shelved | None:
        """What is there; where nothing is yet, wait for it that long, then None."""
        with self._changed:
            self._read[window] = time.monotonic()
            self._waiting[window] += 1
            self._changed.notify_all()
            try:
                self._changed.wait_for(lambda: window in self._shelved, patience_seconds)
                return self._shelved.get(window)
            finally:
                self._waiting[window] -= 1
                self._read[window] = time.monotonic()

    def keep_filled(self, source: Callable[[str], Picture]) -> None:
        """Sample whatever is due, for ever. Only an OpsError of ``source`` is no end of it."""
        while True:
            window = self._wait_for_work()
            try:
                made = Shelved(source(window), "")
            except OpsError as error:
                made = Shelved(None, f"{error.message} [{error.code}]")
            self._put(window, made)

    def _put(self, window: str, made: Shelved) -> None:
        with self._changed:
            before = self._shelved.get(window)
            if made.picture is None and before is not None:
                made = Shelved(before.picture, made.trouble)
            self._shelved[window] = made
            self._sampled[window] = time.monotonic()
            self._changed.notify_all()

    def _wait_for_work(self) -> str:
        with self._changed:
            while True:
                now = time.monotonic()
                self._forget(now)
                # One that somebody waits for comes before all that are there, however short the
                # interval is: the first window would be due before it again and again.
                due = {
                    one: self._sampled[one] + self._interval if one in self._sampled else 0.0
                    for one in self._read
                }
                first = min(due, key=lambda one: due[one])
                if due[first] <= now:
                    return first
                self._changed.wait(due[first] - now)

    def _forget(self, now: float) -> None:
        """Windows that nobody looks at cost calls to Stripe; an old picture would mislead."""
        oldest = now - _FORGOTTEN_AFTER * self._interval
        for window in [one for one, at in self._read.items() if at < oldest]:
            # Who waits has not gone, however long a sample takes.
            if window != FIRST_WINDOW and not self._waiting[window]:
                del self._read[window]
                self._sampled.pop(window, None)
                self._shelved.pop(window, None)
