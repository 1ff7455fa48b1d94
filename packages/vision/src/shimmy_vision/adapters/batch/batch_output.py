"""A batch's output on this machine: who writes it, which batch it is of, what is done in it."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from shimmy_vision.adapters.batch.batch_lines import BatchLines, drop_failed
from shimmy_vision.adapters.batch.parquet_results import (
    done_rows,
    keep_successes,
    write_parquet,
)
from shimmy_vision.adapters.batch.row_parts import fold_parts
from shimmy_vision.adapters.files.json_record import read_record, write_record
from shimmy_vision.domain.batch.batch_identity import (
    BatchIdentity,
    identity_record,
    read_identity,
)
from shimmy_vision.errors import OutputError, UsageError

PARQUET = ".parquet"


@contextmanager
def claimed_output(output: Path, asked: str) -> Iterator[BatchIdentity]:
    """The identity of the batch that ``output`` is of, a new one where there is none yet.

    One run at a time. Raises UsageError batch-output-in-use, batch-output-foreign and
    batch-request-changed, OutputError output-not-written.
    """
    record = record_of(output)
    lock = FileLock(output.with_name(f".{output.name}.lock"))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UsageError(
            "batch-output-in-use",
            f"Another shimmy batch writes to {output}.",
            hint="Wait for it, or choose another --output.",
        ) from error
    except OSError as error:
        raise _unwritten(output, error) from error
    try:
        yield _identity(output, record, asked)
    finally:
        # The file stays: whoever takes it away could take it from under somebody else's lock.
        lock.release()


@contextmanager
def opened_lines(output: Path, *, again: bool) -> Iterator[BatchLines]:
    """Where outcomes go; ``again`` has failed rows done anew. Raises OutputError."""
    lines = lines_of(output)
    before = set[bytes]()
    if again:
        drop_failed(lines)
    if output.suffix == PARQUET:
        if again:
            keep_successes(output)
        before = done_rows(output)
    with closing(BatchLines(lines, before=before)) as sink:
        # What a cluster did whose driver was killed.
        fold_parts(parts_of(output), sink, lambda _: None)
        yield sink


def finish_output(output: Path) -> None:
    """Make the Parquet file whole, where that is the output. Raises OutputError."""
    shutil.rmtree(parts_of(output), ignore_errors=True)
    if output.suffix != PARQUET:
        return
    write_parquet(lines_of(output), output)
    lines_of(output).unlink(missing_ok=True)


def lines_of(output: Path) -> Path:
    """The file that outcomes are written to: the output itself, but for Parquet, which cannot

    grow.
    """
    return output if output.suffix != PARQUET else _beside(output, ".rows.jsonl")


def parts_of(output: Path) -> Path:
    """Where machines of a cluster write what is not in the output yet."""
    return _beside(output, ".parts")


def record_of(output: Path) -> Path:
    """Which batch the output is of."""
    return _beside(output, ".batch.json")


def _beside(output: Path, more: str) -> Path:
    return output.with_name(f"{output.name}{more}")


def _identity(output: Path, record: Path, asked: str) -> BatchIdentity:
    found = read_identity(read_record(record))
    places = (output, lines_of(output), parts_of(output))
    begun = any(one.exists() and _holds_something(one) for one in places)
    if found is None or (found.asked != asked and not begun):
        if begun:
            raise UsageError(
                "batch-output-foreign",
                f"{output}, or what begins with its name beside it, is there already, and no "
                f"{record.name} says of which batch.",
                hint=f"Choose another --output, or move all of them away: {output.name}*",
            )
        found = BatchIdentity(uuid.uuid4().hex, asked)
        try:
            write_record(record, identity_record(found))
        except OSError as error:
            raise _unwritten(output, error) from error
    if found.asked != asked:
        raise UsageError(
            "batch-request-changed",
            f"{output} was begun with another question, mode, model or bound.",
            hint="Ask the same to go on with it, or choose another --output.",
        )
    return found


def _holds_something(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.stat().st_size > 0


def _unwritten(output: Path, error: OSError) -> OutputError:
    return OutputError(
        "output-not-written",
        f"{output} could not be written: {error.strerror or error}",
        hint="Free disk space or write elsewhere.",
    )
