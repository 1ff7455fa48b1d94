"""Runs work on a second thread so that this one stays free for Ctrl-C and the clock.

Python delivers a signal only between two byte codes of the main thread. A main
thread inside a native call would notice Ctrl-C when the call returns; one that
merely waits notices at once and throws the switch that the native code polls.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TypeVar

from shimmy_vision.ports.cancellation import Cancellation

T = TypeVar("T")

_POLL_SECONDS = 0.05


class Interrupts:
    """While entered, the first Ctrl-C throws every watched switch, present and future.

    The second one is Python's usual KeyboardInterrupt, for whoever cannot wait.
    """

    def __init__(self) -> None:
        self._switch: Cancellation | None = None
        self._thrown = False
        self._previous: Callable[[int, FrameType | None], object] | int | None = None

    def watch(self, switch: Cancellation) -> None:
        """Throw ``switch`` on Ctrl-C, or now if it was pressed already."""
        self._switch = switch
        if self._thrown:
            switch.cancel("interrupted")

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._thrown:
            signal.default_int_handler(number, frame)
        self._thrown = True
        if self._switch is not None:
            self._switch.cancel("interrupted")

    def __enter__(self) -> Interrupts:
        self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._previous or signal.SIG_DFL)


def supervise(
    work: Callable[[Cancellation], T], interrupts: Interrupts, *, timeout: float | None
) -> T:
    """Run ``work`` with a fresh switch, thrown on Ctrl-C or after ``timeout`` seconds.

    Returns what ``work`` returns and raises what it raises, StoppedError and
    DeadlineError included; never returns while the work still runs.
    """
    switch = Cancellation()
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work(switch))
        except BaseException as error:  # noqa: BLE001 - carried over to the waiting thread
            errors.append(error)

    thread = threading.Thread(target=run, name="shimmy-work")
    deadline = None if timeout is None else time.monotonic() + timeout
    interrupts.watch(switch)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_SECONDS)
        if deadline is not None and time.monotonic() >= deadline:
            switch.cancel("deadline")
    if errors:
        raise errors[0]
    return results[0]
