"""One engine process as its parent sees it: pipes, and who waits for which answer.

A thread writes and a thread reads, so that nobody who asks can be held up by a child that does not
listen, and a child that talks is always listened to.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from typing import IO, Any, TypeAlias

from shimmy_vision.adapters.worker.worker_frames import (
    Frame,
    Packed,
    PipeBrokenError,
    pack_frame,
    read_frame,
    write_packed,
)
from shimmy_vision.adapters.worker.worker_messages import error_of, event_of, status_of
from shimmy_vision.errors import LibraryError, ShimmyError
from shimmy_vision.ports.analyst import EngineStatus, JobEvent
from shimmy_vision.ports.cancellation import Reason

_LAST_WORDS = 2000
# One answer may be late on a machine that is busy.
_STATUS_TRIES = 2
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The last that is heard of a job."""

    result: dict[str, Any] | None
    error: ShimmyError | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """Whoever wants the job's answer wants it stopped."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The child is gone; it will say nothing more."""


Heard: TypeAlias = JobEvent | Answer | Stopped | Gone | EngineStatus


@dataclass(eq=False, slots=True)
class Line:
    """What is heard of one job, in order, for the one thread that waits for it."""

    number: int = -1
    heard: SimpleQueue[Heard] = field(default_factory=SimpleQueue)

    def next(self, seconds: float | None) -> Heard | None:
        """What is heard next; None after so many ``seconds`` of silence."""
        try:
            return self.heard.get(timeout=seconds)
        except Empty:
            return None


class EngineChild:
    """``command`` started once. ``on_gone`` is called on a thread of its own, before any line

    hears that the child is gone.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None,
        on_gone: Callable[[EngineChild], None],
    ) -> None:
        self._on_gone = on_gone
        # What it last said of itself, whether it ever said anything, and how it ended.
        self.known: EngineStatus | None = None
        self.spoke = False
        self.words = ""
        # Whoever was under way when it went; whether it was sent away, and for no fault of theirs.
        self.left: frozenset[Line] = frozenset()
        self.dismissed = self.excused = False
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._lines: dict[int, Line] = {}
        self._abandoned: set[int] = set()
        self._asked: dict[int, Line] = {}
        self._gone = self._ending = False
        self._outbox: SimpleQueue[Packed | None] = SimpleQueue()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _bury
        self._process = self._start(command, environment)
        self._writer = threading.Thread(target=self._write, name="engine-write", daemon=True)
        self._reader = threading.Thread(target=self._read, name="engine-read", daemon=True)
        self._writer.start()
        self._reader.start()

    def _start(
        self, command: Sequence[str], environment: Mapping[str, str] | None
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
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

    @property
    def alive(self) -> bool:
        """Whether it can still be asked something."""
        return not self.dismissed and not self._gone and self._process.poll() is None

    def begin(self, line: Line, frame: Frame) -> None:
        """Send a job whose events are then heard on ``line``. Raises UnsayableError."""
        self._ask(line, frame, self._lines)

    def _ask(self, line: Line, frame: Frame, lines: dict[int, Line]) -> None:
        line.number = next(self._numbers)
        # Here, where somebody hears that it cannot be said.
        packed = pack_frame(Frame({**frame.head, "id": line.number}, frame.body))
        with self._lock:
            if self._gone:
                line.heard.put(Gone())
                return
            lines[line.number] = line
        self._outbox.put(packed)

    def stop(self, line: Line, reason: Reason) -> None:
        """Ask for the job to be stopped. Never waits, so that any thread may call it."""
        self._outbox.put(pack_frame(Frame({"do": "stop", "id": line.number, "reason": reason})))

    def abandon(self, line: Line) -> int:
        """Nobody waits for this job any more, which goes on until it ends; how many such there

        are.
        """
        with self._lock:
            if line.number in self._lines:
                self._abandoned.add(line.number)
            return len(self._abandoned)

    def is_busy_with(self, line: Line) -> bool:
        """Whether the job has not ended."""
        with self._lock:
            return not self._gone and line.number in self._lines

    def ask_status(self, seconds: float) -> EngineStatus | None:
        """How it is; None where it does not say so within ``seconds``."""
        line = Line()
        self._ask(line, Frame({"do": "status"}), self._asked)
        said = line.next(seconds)
        with self._lock:
            self._asked.pop(line.number, None)
        return said if isinstance(said, EngineStatus) else None

    def answers(self, seconds: float) -> bool:
        """Whether it still says how it is, within ``seconds`` a try."""
        return any(self.ask_status(seconds) is not None for _ in range(_STATUS_TRIES))

    def kill(self) -> None:
        """End it where it stands."""
        self._process.kill()
        # Only a kernel that is stuck itself keeps it longer.
        self._reader.join(_KILL_SECONDS)

    def end(self, seconds: float) -> None:
        """The end of its input tells it to go; it is killed where it has not after ``seconds``."""
        self.dismissed = self.excused = self._ending = True
        self._outbox.put(None)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._reader.join(_KILL_SECONDS)

    def _write(self) -> None:
        assert self._process.stdin is not None  # noqa: S101 - it was asked for above
        # A pipe that breaks here breaks for the reader too.
        with suppress(PipeBrokenError):
            while (packed := self._outbox.get()) is not None:
                write_packed(self._process.stdin, packed)
        with suppress(OSError):
            self._process.stdin.close()

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - it was asked for - it was asked for above
        # A frame that makes no sense is as good as none: both ends are this program. Whatever goes
        # wrong here, those who wait are told below.
        with suppress(Exception):
            while (frame := read_frame(self._process.stdout)) is not None:
                self._pass_on(frame.head)
        # From here on nobody new can have been the cause.
        with self._lock:
            self._gone = True
            self.left = frozenset(self._lines.values())
            waiting = (*self._lines.values(), *self._asked.values())
        self.words = self._bury()
        self._on_gone(self)
        for line in waiting:
            line.heard.put(Gone())

    def _pass_on(self, head: Mapping[str, Any]) -> None:
        number = head["id"]
        self.spoke = True
        if "hello" in head:
            return
        heard = _heard(head)
        if isinstance(heard, EngineStatus):
            self.known = _later(self.known, heard)
        with self._lock:
            lines = self._asked if isinstance(heard, EngineStatus) else self._lines
            if isinstance(heard, Answer):
                line = lines.pop(number, None)
                self._abandoned.discard(number)
            else:
                line = lines.get(number)
        # What nobody waits for any more is not missed.
        if line is not None:
            line.heard.put(heard)

    def _bury(self) -> str:
        """How it ended, as a clause; nothing of it is left afterwards."""
        if not self._ending:
            # It may have broken the pipe and live: it is of no use any more.
            self._process.kill()
        status = self._process.wait()
        self._outbox.put(None)
        self._writer.join()
        assert self._process.stdout is not None  # noqa: S101 - it was asked for
        self._process.stdout.close()
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


def _heard(head: Mapping[str, Any]) -> Heard:
    match head:
        case {"outcome": _}:
            return event_of(head)
        case {"result": result}:
            return Answer(result, None)
        case {"error": error}:
            return Answer(None, error_of(error))
        case {"status": status}:
            return status_of(status)
        case _:
            return event_of(head)


def _later(known: EngineStatus | None, heard: EngineStatus) -> EngineStatus:
    """Two that are asked for at once may be told in the other order."""
    before = {} if known is None else known.counters
    counters = {**before, **heard.counters}
    grown = {name: max(value, before.get(name, value)) for name, value in counters.items()}
    return replace(heard, counters=grown)
