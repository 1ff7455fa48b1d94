"""Outcomes as lines of JSON: a batch's output, or what its Parquet file is made of in the end.

Each line is there the moment it is written. A line that a kill tore is taken away when the file is
opened again: its row is done again, under the same key, and so not counted again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from shimmy_vision.adapters.files.durable_rename import replace_durably
from shimmy_vision.domain.batch.row_outcome import (
    RowDigest,
    RowOutcome,
    failed_codes,
    outcome_json,
    read_outcome,
    row_digest,
)
from shimmy_vision.errors import OutputError

_TAIL = 1 << 16


class BatchLines:
    """The ``RowSink`` port over a file that only grows. Raises OutputError at any trouble."""

    def __init__(self, path: Path, *, before: set[RowDigest] | None = None) -> None:
        self._path = path
        self._done = before or set[RowDigest]()
        try:
            _drop_torn_line(path)
            for outcome in read_lines(path):
                self._done.add(row_digest(outcome.name))
            self._file: IO[bytes] = path.open("ab")
        except OSError as error:
            raise _unwritten(path, error) from error

    def is_done(self, row: RowDigest) -> bool:
        """As the port says; about a hundred bytes a row are held for it."""
        return row in self._done

    def write(self, outcome: RowOutcome) -> None:
        """As the port says."""
        line = json.dumps(outcome_json(outcome), ensure_ascii=False, separators=(",", ":"))
        try:
            self._file.write(line.encode("utf-8", "replace") + b"\n")
            self._file.flush()
        except OSError as error:
            raise _unwritten(self._path, error) from error
        self._done.add(row_digest(outcome.name))

    def sync(self) -> None:
        """As the port says."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _unwritten(self._path, error) from error

    def close(self) -> None:
        """Safe to call twice."""
        try:
            self._file.close()
        except OSError as error:
            raise _unwritten(self._path, error) from error


def read_lines(path: Path) -> Iterator[RowOutcome]:
    """Every outcome in the file, none where there is no file. Raises OutputError, OSError."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                outcome = read_outcome(json.loads(line))
            except (ValueError, RecursionError):
                outcome = None
            if outcome is None:
                raise OutputError(
                    "batch-output-damaged",
                    f"Line {number} of {path} is no row of a batch.",
                    hint="Take that line away, or choose another --output.",
                )
            yield outcome


def drop_failed(path: Path) -> None:
    """Take rows away of which something failed, so that they are done again. Raises OutputError."""
    if not path.exists():
        return
    beside = path.with_name(f".{path.name}.new")
    try:
        _drop_torn_line(path)
        with beside.open("wb") as out, path.open("rb") as file:
            out.writelines(
                line
                for line, one in zip(file, read_lines(path), strict=True)
                if not failed_codes(one)
            )
        replace_durably(beside, path)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        beside.unlink(missing_ok=True)


def _drop_torn_line(path: Path) -> None:
    """Cut the file behind its last line's end."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = whole = file.seek(0, 2)
        while whole:
            start = max(0, whole - _TAIL)
            file.seek(start)
            found = file.read(whole - start).rfind(b"\n")
            whole = start + found + 1
            if found >= 0:
                break
        if whole != end:
            file.truncate(whole)


def _unwritten(path: Path, error: OSError) -> OutputError:
    return OutputError(
        "output-not-written",
        f"{path} could not be written: {error.strerror or error}",
        hint="Free disk space or write elsewhere.",
    )
