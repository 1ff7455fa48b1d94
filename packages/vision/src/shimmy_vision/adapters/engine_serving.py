"""The engine process's own side: requests in, progress and results out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Queue
from typing import IO, Any, TypeAlias

from shimmy_vision.adapters.worker_frames import (
    Frame,
    PipeBrokenError,
    error_fields,
    read_frame,
    request_of,
    write_frame,
)
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest
from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import Progress, ProgressListener

Analyse: TypeAlias = Callable[
    [bytes, AnalysisRequest, Cancellation, ProgressListener], dict[str, Any]
]


def serve_analyses(analyse: Analyse, into: IO[bytes], out: IO[bytes]) -> None:
    """Answer until ``into`` ends; what is under way then is stopped, for nobody waits for it."""
    inbox = _Inbox(into)
    threading.Thread(target=inbox.listen, name="listen", daemon=True).start()
    try:
        while (order := inbox.next()) is not None:
            _answer(analyse, *order, out)
    except PipeBrokenError:
        return


def _answer(analyse: Analyse, frame: Frame, switch: Cancellation, out: IO[bytes]) -> None:
    def listener(progress: Progress) -> None:
        told = [progress.stage, progress.done, progress.total]
        write_frame(out, Frame({"progress": told}))

    try:
        request = request_of(frame.head["request"])
        answer = Frame({"result": analyse(frame.body, request, switch, listener)})
    except ShimmyError as error:
        answer = Frame({"error": error_fields(error)})
    write_frame(out, answer)


class _Inbox:
    """Hears on a thread of its own, so that a wish to stop is heard while another works."""

    def __init__(self, into: IO[bytes]) -> None:
        self._into = into
        self._orders: Queue[tuple[Frame, Cancellation] | None] = Queue()
        self._lock = threading.Lock()
        self._switch: Cancellation | None = None

    def next(self) -> tuple[Frame, Cancellation] | None:
        """The next request with its switch; None once the other end is gone."""
        return self._orders.get()

    def listen(self) -> None:
        """Read until the end."""
        try:
            while (frame := read_frame(self._into)) is not None:
                self._take(frame)
        except PipeBrokenError:
            pass  # Whatever broke it, nobody is there any more.
        self._stop("interrupted")
        self._orders.put(None)

    def _take(self, frame: Frame) -> None:
        if frame.head.get("do") == "stop":
            self._stop(frame.head.get("reason"))
            return
        with self._lock:
            self._switch = Cancellation()
            self._orders.put((frame, self._switch))

    def _stop(self, reason: object) -> None:
        with self._lock:
            if self._switch is not None:
                self._switch.cancel("deadline" if reason == "deadline" else "interrupted")
