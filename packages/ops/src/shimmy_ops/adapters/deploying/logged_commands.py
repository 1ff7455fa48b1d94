"""The ``Commands`` port: processes whose output goes, redacted, into a private log."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from shimmy_ops.domain.secrets.redaction import redact
from shimmy_ops.errors import DeployError
from shimmy_ops.ports.deploying import Said

COMMAND_SECONDS = 900.0
_LINGER_SECONDS = 2.0
_MOST_KEPT = 1 << 20


class LoggedCommands:
    """Run in ``base``; ``log`` (0600) is added to. ``known`` secrets are redacted besides."""

    def __init__(self, base: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._base, self._log, self._environment = base, log, environment
        self._known: set[str] = set()

    def runs(self, word: str) -> bool:
        return shutil.which(word, path=self._environment.get("PATH")) is not None

    def run(self, words: Sequence[str], given: str | None = None) -> Said:
        if given is not None:
            self._known.add(given.strip())
        with self._opened() as log:
            log.write(redact(f"$ {' '.join(words)}\n", self._known))
            process = self._begin(words)
            said: list[str] = []
            reader = threading.Thread(target=self._read, args=(process, log, said), daemon=True)
            reader.start()
            code = self._wait(process, words[0], given)
            # What it began may hold the pipe for ever.
            reader.join(_LINGER_SECONDS)
            log.write(f"= {code}\n")
        return Said(code, "".join(said))

    def deploy(self, words: Sequence[str]) -> str:
        """As ``ReleasePlaces`` wants it: why it failed, empty where it did not."""
        try:
            code = self.run(words).code
        except DeployError as error:
            return error.message
        return f"ended with {code}: see {self._log}." if code else ""

    def _opened(self) -> IO[str]:
        try:
            self._log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            return os.fdopen(descriptor, "a", buffering=1, encoding="utf-8")
        except OSError as error:
            raise DeployError(
                "deploy-log-unwritable",
                f"{self._log} cannot be written: {error.strerror or type(error).__name__}.",
            ) from error

    def _begin(self, words: Sequence[str]) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                list(words), cwd=self._base, env=dict(self._environment), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                errors="replace", start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise DeployError(
                "deploy-command-missing",
                f"{words[0]} cannot be run: {error.strerror or type(error).__name__}.",
                hint="Install it, or name it by its path in the profile.",
            ) from error

    def _read(self, process: subprocess.Popen[str], log: IO[str], said: list[str]) -> None:
        kept, pipe = 0, process.stdout
        if pipe is None:
            return
        with suppress(ValueError), pipe:
            # ValueError: the log is closed, and nobody listens any more.
            for line in pipe:
                log.write(redact(line, self._known))
                kept += len(line)
                if kept <= _MOST_KEPT:
                    said.append(line)

    def _wait(self, process: subprocess.Popen[str], word: str, given: str | None) -> int:
        try:
            with suppress(BrokenPipeError):
                if process.stdin is not None:
                    process.stdin.write(given or "")
                    process.stdin.close()
            return process.wait(COMMAND_SECONDS)
        except subprocess.TimeoutExpired as error:
            _end(process)
            raise DeployError(
                "deploy-command-endless",
                f"{word} did not end in {COMMAND_SECONDS:.0f} s; it was ended.",
                retryable=True,
            ) from error
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[str]) -> None:
    """All that it began ends with it."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_LINGER_SECONDS)
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
