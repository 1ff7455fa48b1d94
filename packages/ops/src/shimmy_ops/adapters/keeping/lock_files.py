"""One process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shimmy_ops.errors import KeepingError


@contextmanager
def hold_lock(path: Path) -> Iterator[None]:
    """Within, nobody else holds ``path``; its folder is made for its owner alone.

    Raises KeepingError, retryable where somebody does.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The system lets go of it when the process ends, however it ends.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise KeepingError(
            "file-unwritable",
            f"{path} cannot be opened: {error.strerror or type(error).__name__}.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KeepingError(
                "another-at-work",
                f"Another process is at work in {path.parent}.",
                hint="Run it again when that one has ended.",
                retryable=True,
            ) from None
        yield
    finally:
        os.close(descriptor)
