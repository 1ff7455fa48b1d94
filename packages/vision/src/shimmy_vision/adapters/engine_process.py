"""Analyses in a process of their own: whatever kills it, this one lives on.

llama.cpp aborts its process on a failed assertion. Here that process is a child which is started
when it is needed, dies with the request that killed it, and is started again for the next one,
later each time it dies soon after its start.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from shimmy_vision.adapters.worker_frames import (
    Frame,
    PipeBrokenError,
    error_of,
    read_frame,
    request_fields,
    write_frame,
)
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest
from shimmy_vision.errors import LibraryError, ShimmyError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import Progress, ProgressListener

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
# A process that lived so long did not die of its start.
_SETTLED_SECONDS = 60.0
_FAREWELL_SECONDS = 10.0
_LAST_WORDS = 2000


class EngineProcess:
    """``command`` starts the child; one analysis at a time, others wait their turn."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._command = tuple(command)
        self._environment = environment
        self._clock = clock
        self._turn = threading.Lock()
        self._child: _Child | None = None
        self._deaths = 0
        self._not_before = 0.0
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether a child is there now."""
        child = self._child
        return child is not None and child.alive

    def analyse(
        self,
        data: bytes,
        request: AnalysisRequest,
        cancellation: Cancellation,
        listener: ProgressListener,
    ) -> dict[str, Any]:
        """As ``analyze_image``. Raises LibraryError engine-crashed where the child dies of it,
        engine-resting while it died too often lately.
        """
        with self._turn:
            cancellation.check()
            child = self._ready()
            try:
                return child.analyse(data, request, cancellation, listener)
            except PipeBrokenError as error:
                cancellation.check()
                raise self._died(child) from error
            except ShimmyError:
                raise
            except BaseException:
                # The caller's own listener failed: what the child still says would be read as the
                # next answer.
                child.bury()
                self._child = None
                raise

    def close(self) -> None:
        """Let the child finish and end; kill it if it does not."""
        with self._turn:
            self._closed = True
            if self._child is not None:
                self._child.end()
                self._child = None

    def _ready(self) -> _Child:
        if self._closed:
            raise LibraryError("engine-closed", "The engine has been closed.")
        if self._child is not None and self._child.alive:
            return self._child
        if self._child is not None:
            self._died(self._child)
        wait = self._not_before - self._clock()
        if wait > 0:
            raise LibraryError(
                "engine-resting",
                f"The engine has crashed {self._deaths} times; it starts again in {wait:.0f} s.",
                hint="Try again then. If it goes on: shimmy doctor",
                retryable=True,
            )
        self._child = _Child(self._command, self._environment, self._clock())
        return self._child

    def _died(self, child: _Child) -> LibraryError:
        words = child.bury()
        if self._child is child:
            self._child = None
        now = self._clock()
        self._deaths = 1 if now - child.born > _SETTLED_SECONDS else self._deaths + 1
        # The first time it may have been the image: nobody else has to wait for it.
        pause = _FIRST_PAUSE * 2 ** min(self._deaths - 2, 10) if self._deaths > 1 else 0.0
        self._not_before = now + min(pause, _LONGEST_PAUSE)
        return LibraryError(
            "engine-crashed",
            f"The engine's process ended while it worked on this{words}.",
            hint="Try again; the engine has been started anew. If this image does it every time, "
            "please report it.",
            retryable=True,
        )


class _Child:
    """One process with its pipes."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None, born: float
    ) -> None:
        self.born = born
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in bury
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=None if environment is None else dict(environment),
            )
        except OSError as error:
            self._errors.close()
            raise LibraryError(
                "engine-not-started", f"The engine's process could not be started: {error}."
            ) from error
        self._writing = threading.Lock()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def analyse(
        self,
        data: bytes,
        request: AnalysisRequest,
        cancellation: Cancellation,
        listener: ProgressListener,
    ) -> dict[str, Any]:
        self._send(Frame({"do": "analyse", "request": request_fields(request)}, data))
        with cancellation.when_cancelled(lambda: self._stop(cancellation)):
            while True:
                frame = read_frame(self._out)
                if frame is None:
                    raise PipeBrokenError("pipe-ended")
                match frame.head:
                    case {"progress": [stage, done, total]}:
                        listener(Progress(stage, done, total))
                    case {"result": dict(result)}:
                        return result
                    case {"error": fields}:
                        # What stopped it is known better here: a deadline, or somebody's wish.
                        cancellation.check()
                        raise error_of(fields)
                    case _:
                        raise PipeBrokenError("frame-unknown")

    def _stop(self, cancellation: Cancellation) -> None:
        with suppress(PipeBrokenError):
            self._send(Frame({"do": "stop", "reason": cancellation.reason}))

    def _send(self, frame: Frame) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for above
        with self._writing:
            write_frame(self._process.stdin, frame)

    @property
    def _out(self) -> IO[bytes]:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for above
        return self._process.stdout

    def end(self) -> None:
        """The end of its input tells it to go."""
        with suppress(OSError):
            assert self._process.stdin is not None  # noqa: S101
            self._process.stdin.close()
        try:
            self._process.wait(_FAREWELL_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self.bury()

    def bury(self) -> str:
        """How it ended, as a clause; nothing of it is left afterwards."""
        if self._process.poll() is None:
            # It broke the pipe and lives: it is of no use any more.
            self._process.kill()
        status = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        words = self._last_words()
        how = f" (signal {-status})" if status < 0 else f" (status {status})"
        return how + (f". Its last words: {words}" if words else "")

    def _last_words(self) -> str:
        with self._errors as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_WORDS))
            lines = file.read().decode("utf-8", "replace").split("\n")
        telling = [line.strip() for line in lines if "GGML_ASSERT" in line or "terminate" in line]
        return telling[-1][-300:] if telling else ""
