"""Runs work on a second thread so that this one stays free for Ctrl-C and the clock.

Python delivers a signal only between two byte codes of the main thread. A main
thread inside a native call would notice Ctrl-C when the call returns; one that
merely waits notices at once and throws the switch that the native code polls.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from shimmy_vision.ports.cancellation import Cancellation

T = TypeVar("T")

_POLL_SECONDS = 0.05


def supervise(
    work: Callable[[Cancellation], T],
    *,
    timeout: float | None,
    cancellation: Cancellation | None = None,
) -> T:
    """Run ``work`` with a fresh switch, thrown on Ctrl-C or after ``timeout`` seconds.

    Returns what ``work`` returns and raises what it raises, StoppedError and
    DeadlineError included; never returns while the work still runs.
    """
    switch = cancellation or Cancellation()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(switch))
        except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
            errors.append(error)

    thread = threading.Thread(target=run, name="shimmy-analysis")
    thread.start()
    deadline = None if timeout is None else time.monotonic() + timeout
    while thread.is_alive():
        try:
            thread.join(_POLL_SECONDS)
            if deadline is not None and time.monotonic() >= deadline:
                switch.cancel("deadline")
        except KeyboardInterrupt:
            switch.cancel("interrupted")
    if errors:
        raise errors[0]
    return results[0]
