"""The ``Gatherer`` port: threads that nobody has to wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from shimmy_ops.domain.preflight.facts import Source, Unasked
from shimmy_ops.errors import OpsError
from shimmy_ops.ports.surroundings import Told, Way

Answer = TypeVar("Answer")


class ThreadedGatherer:
    """A source that hangs is left behind: its thread ends with the program."""

    def gather(self, ways: Mapping[Source, Way], at_once: int, told: Told) -> Mapping[Source, Any]:
        waiting, running = list(ways.items()), dict[Source, float]()
        done, answers = SimpleQueue[tuple[Source, Any]](), dict[Source, Any]()
        while waiting or running:
            while waiting and len(running) < at_once:
                source, way = waiting.pop(0)
                running[source] = time.monotonic() + way.seconds
                threading.Thread(target=_run, args=(source, way, done), daemon=True).start()
            try:
                left = min(running.values()) - time.monotonic()
                source, answer = done.get(timeout=max(left, 0.01))
            except Empty:
                for source in [one for one, end in running.items() if end <= time.monotonic()]:
                    seconds = ways[source].seconds
                    answers[source] = Unasked(f"There was no answer within {seconds:.0f} s.")
                    del running[source]
                    told(source)
                continue
            if running.pop(source, None) is not None:
                answers[source] = answer
                told(source)
        return answers


def _run(source: Source, way: Way, done: SimpleQueue[tuple[Source, Any]]) -> None:
    try:
        answer = way.ask()
    except OpsError as error:
        answer = Unasked(f"{error.message} [{error.code}]", error.hint)
    except Exception as error:  # noqa: BLE001 - it must not hide what the others found
        answer = Unasked(f"Asking failed: {type(error).__name__}.", "Report this with the command.")
    done.put((source, answer))


class SharedAnswer(Generic[Answer]):
    """Asked once, whoever needs it first; whoever else needs it waits, and hears the same."""

    def __init__(self, ask: Callable[[], Answer]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._kept: list[Answer] = []
        self._error: OpsError | None = None

    def __call__(self) -> Answer:
        """Raises what asking raised."""
        with self._lock:
            if self._error is not None:
                raise self._error
            if not self._kept:
                try:
                    self._kept.append(self._ask())
                except OpsError as error:
                    self._error = error
                    raise
            return self._kept[0]
