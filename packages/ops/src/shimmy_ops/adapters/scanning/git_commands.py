"""Git, asked by its command; what it refuses becomes a ``ScanError`` here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from shimmy_ops.errors import ScanError

_TIMEOUT_SECONDS = 120


class GitCommands:
    """The few questions that a scan has."""

    def top(self, folder: Path) -> Path | None:
        """The working tree that ``folder`` is in; None outside one."""
        try:
            answer = self.ask(folder, "rev-parse", "--show-toplevel")
        except ScanError:
            return None
        return Path(os.fsdecode(answer.rstrip(b"\n")))

    def tracked(self, folder: Path) -> Iterator[str]:
        """What git tracks below ``folder``, relative to it."""
        for name in self.ask(folder, "ls-files", "-z").split(b"\0"):
            if name:
                yield os.fsdecode(name)

    def ask(self, folder: Path, *words: str) -> bytes:
        """The answer to a short question."""
        try:
            done = subprocess.run(
                _command(folder, *words),
                capture_output=True, check=True, timeout=_TIMEOUT_SECONDS, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise ScanError("git-missing", "git is not installed.", hint="Install git.") from error
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            told = (error.stderr or b"").decode(errors="replace").strip().partition("\n")[0]
            raise ScanError(
                "git-failed", f"git {words[0]} failed in {folder}: {told or error}"
            ) from error
        return done.stdout

    @contextmanager
    def talk(self, folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """A git that answers line by line, ended whatever happens."""
        process = subprocess.Popen(
            _command(folder, *words), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):
                    if pipe is not None:
                        pipe.close()


def _command(folder: Path, *words: str) -> list[str]:
    # Replacements and a user's settings must not change what is read.
    return ["git", "--no-replace-objects", "-C", str(folder), *words]
