"""Work on other threads, waited for without guessing how long it takes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

_SECONDS = 60.0


class Background(Generic[T]):
    """``work`` on a thread of its own, begun at once."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self._errors: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again by ``result``
            self._errors.append(error)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self) -> T:
        """What it returned, once it ended; raises what it raised."""
        self._thread.join(_SECONDS)
        assert not self._thread.is_alive(), "it did not end"
        if self._errors:
            raise self._errors[0]
        return self._results[0]


def until(condition: Callable[[], bool]) -> None:
    """Look again and again until ``condition`` holds."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.001)
