"""A dump of the ledger as a file: for its owner's eyes alone, and whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import mkstemp

from shimmy_store.domain.ledger_dump import LONGEST_LINE
from shimmy_store.errors import DumpError


def write_dump_file(path: Path, lines: Iterable[bytes]) -> None:
    """Beside it first, then in its place. Raises DumpError."""
    try:
        # Mode 0600 from the first byte.
        descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise _unusable(path, "written", error) from error


def read_dump_file(path: Path) -> Iterator[bytes]:
    """Its lines, no longer than any may be. Raises DumpError."""
    try:
        with path.open("rb") as file:
            while line := file.readline(LONGEST_LINE):
                yield line
    except OSError as error:
        raise _unusable(path, "read", error) from error


def _unusable(path: Path, what: str, error: OSError) -> DumpError:
    return DumpError(
        "dump-file-unusable",
        f"The file {path} cannot be {what}: {error.strerror or type(error).__name__}.",
        hint="Name another file, or another folder.",
    )
