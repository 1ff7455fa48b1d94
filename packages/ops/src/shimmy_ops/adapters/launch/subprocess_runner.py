"""The ``CommandRunner`` port: a process, heard live, and ended with us."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from shimmy_ops.adapters.launch.output_files import BoundedOutput
from shimmy_ops.domain.launch.entries import Ran
from shimmy_ops.errors import LaunchError
from shimmy_ops.ports.launch import OutputShelf, TaskTeller

_SILENCE_SECONDS = 30.0
_LINGER_SECONDS = 2.0
_GRACE_SECONDS = 5.0
_PIECE = 1 << 16


class SubprocessRunner:
    """Commands run in ``root`` with ``environment``.

    At a terminal a command shares our process group, so that it may ask and hears Ctrl-C itself;
    elsewhere it has its own, so that all it began ends with it.
    """

    def __init__(self, root: Path, environment: Mapping[str, str], shelf: OutputShelf) -> None:
        self._root, self._environment, self._shelf = root, environment, shelf

    def run(self, argv: Sequence[str], timeout_seconds: float, teller: TaskTeller) -> Ran:
        apart = not sys.stdin.isatty()
        began = time.monotonic()
        process = self._begin(argv, apart=apart)
        outputs = (BoundedOutput(), BoundedOutput())
        try:
            in_time = _listen(process, outputs, began + timeout_seconds, teller)
            if not in_time:
                _end(process, signal.SIGTERM, apart=apart)
        except BaseException:
            # Whoever stops us stops the command: it is not left to go on unheard.
            _end(process, signal.SIGINT, apart=apart)
            raise
        finally:
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        kept = [self._shelf.keep(one.content(), one.size) for one in outputs]
        code = process.returncode if in_time else None
        return Ran(tuple(argv), code, round(time.monotonic() - began, 3), *kept)

    def _begin(self, argv: Sequence[str], *, apart: bool) -> subprocess.Popen[bytes]:
        program = find_program(argv[0], self._root)
        try:
            return subprocess.Popen(
                [program, *argv[1:]],
                cwd=self._root,
                env=dict(self._environment),
                stdin=subprocess.DEVNULL if apart else None,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                process_group=0 if apart else None,
            )
        except OSError as error:
            raise LaunchError(
                "launch-command-unrunnable",
                f"{argv[0]} cannot be run: {error.strerror or type(error).__name__}.",
            ) from error


def find_program(word: str, root: Path) -> str:
    """Beside the Python that runs us, then where the system looks. Raises LaunchError."""
    if "/" in word:
        return str(root / word)
    beside = Path(sys.executable).parent / word
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(word)
    if found is None:
        raise LaunchError(
            "launch-command-missing",
            f"{word} is not installed. Nothing was recorded.",
            hint="Install it, or run the launch where it is.",
        )
    return found


def _listen(
    process: subprocess.Popen[bytes],
    outputs: tuple[BoundedOutput, BoundedOutput],
    until: float,
    teller: TaskTeller,
) -> bool:
    """Hear both of its pipes to their end; False where its time is up."""
    with selectors.DefaultSelector() as pipes:
        for error, pipe in enumerate((process.stdout, process.stderr)):
            if pipe is not None:
                pipes.register(pipe, selectors.EVENT_READ, error)
        began = heard = time.monotonic()
        ended: float | None = None
        while pipes.get_map():
            now = time.monotonic()
            if ended is None and process.poll() is not None:
                ended = now
            # What it began may hold the pipes for ever.
            if ended is not None and now > ended + _LINGER_SECONDS:
                break
            if ended is None and now > until:
                return False
            ready = pipes.select(0.1)
            for key, _ in ready:
                _hear(key, pipes, outputs, teller)
            if ready or now < heard + _SILENCE_SECONDS:
                heard = now if ready else heard
            else:
                heard = now
                teller.silent(now - began)
    return _wait(process, until)


def _wait(process: subprocess.Popen[bytes], until: float) -> bool:
    """Its pipes are closed; it may go on all the same."""
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _hear(
    key: selectors.SelectorKey,
    pipes: selectors.BaseSelector,
    outputs: tuple[BoundedOutput, BoundedOutput],
    teller: TaskTeller,
) -> None:
    pipe: IO[bytes] = key.fileobj  # type: ignore[assignment]
    piece = os.read(pipe.fileno(), _PIECE)
    if not piece:
        pipes.unregister(pipe)
        return
    outputs[key.data].take(piece)
    teller.said(piece, error=bool(key.data))


def _end(process: subprocess.Popen[bytes], first: signal.Signals, *, apart: bool) -> None:
    """Ask it to end, then insist; Ctrl-C meanwhile insists at once."""
    for kind in (first, signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, PermissionError):
            if apart:
                os.killpg(process.pid, kind)
            else:
                process.send_signal(kind)
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            process.wait(_GRACE_SECONDS)
            break
    if apart:
        # What it began ends with it, also where it did not wait for that itself.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
