"""What commands that serve have in common: how they stop, and what is said if they cannot start."""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn


class CommandError(Exception):
    """The command cannot be done; the message says why and what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def failed(problem: str) -> int:
    """Say so in one line; the exit code."""
    print(f"shimmy-sandbox: {problem}", file=sys.stderr)
    return 1


@contextmanager
def until_stopped(ports: str, options: str) -> Iterator[None]:
    """Serve within: Ctrl-C and SIGTERM end the block quietly.

    ``ports`` names what may be in use, ``options`` how to choose others. Raises CommandError.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except OSError as problem:
        if problem.errno != errno.EADDRINUSE:
            raise CommandError("cannot-serve", f"cannot serve: {problem}") from problem
        message = f"{ports} is in use: stop what listens there or {options}"
        raise CommandError("port-in-use", message) from problem
    except KeyboardInterrupt:
        return


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt
