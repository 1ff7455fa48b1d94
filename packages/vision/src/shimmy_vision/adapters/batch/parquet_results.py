"""Outcomes in Parquet: one row each, its result as a string of JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from shimmy_vision.adapters.batch.arrow import load_parquet
from shimmy_vision.adapters.batch.batch_lines import read_lines
from shimmy_vision.adapters.files.durable_rename import replace_durably
from shimmy_vision.domain.batch.row_outcome import (
    RowDigest,
    RowOutcome,
    failed_codes,
    row_digest,
)
from shimmy_vision.errors import OutputError

DONE, PARTLY, FAILED = "done", "partly", "failed"
COLUMNS = ("image", "sha256", "status", "result", "code", "message", "hint")
# A group of rows is held whole while it is written.
_GROUP_ROWS, _GROUP_BYTES = 1000, 16_000_000


def outcome_columns(outcome: RowOutcome) -> dict[str, str | None]:
    """The outcome as a row; what it does not have is None. ``partly`` done are PDFs of which

    pages failed.
    """
    error = outcome.error
    told = {
        "image": outcome.name,
        "sha256": outcome.sha256,
        "status": FAILED if error is not None else PARTLY if failed_codes(outcome) else DONE,
        "result": _json(outcome.result) if error is None else None,
        "code": None if error is None else error.code,
        "message": None if error is None else error.message,
        "hint": None if error is None else error.hint,
    }
    return {name: None if text is None else _text(text) for name, text in told.items()}


def results_schema(arrow: Any) -> Any:
    """The Arrow schema of outcomes; results may exceed two gigabytes together."""
    text = [arrow.field(name, arrow.string(), nullable=name not in COLUMNS[:3]) for name in COLUMNS]
    text[3] = arrow.field("result", arrow.large_string())
    return arrow.schema(text)


def write_parquet(lines: Path, output: Path) -> None:
    """Everything that is in ``output`` already, and in ``lines``, into ``output``, in one step.

    Holds a group of rows at a time. Raises OutputError.
    """
    # After a kill between the rename and the removal of the lines they stand in both.
    there = done_rows(output)
    fresh = (one for one in read_lines(lines) if row_digest(one.name) not in there)
    _rewrite(output, map(outcome_columns, fresh))


def keep_successes(output: Path) -> None:
    """Take failed rows away, so that they are done again. Raises OutputError."""
    if output.exists():
        _rewrite(output, (), lambda row: row["status"] == DONE)


def done_rows(output: Path) -> set[RowDigest]:
    """What is in the file. Raises OutputError."""
    if not output.exists():
        return set()
    _, parquet = load_parquet()
    with _translated(output), parquet.ParquetFile(output) as file:
        _check_columns(output, file.schema_arrow.names)
        return {
            row_digest(name)
            for batch in file.iter_batches(columns=["image"])
            for name in batch.column(0).to_pylist()
        }


def _check_columns(output: Path, there: Sequence[str]) -> None:
    """Whoever changed them would lose what he added. Raises OutputError."""
    if sorted(there) != sorted(COLUMNS):
        raise OutputError(
            "batch-output-damaged",
            f"{output} has other columns than a batch writes: {', '.join(there)}.",
            hint="Move it away, or choose another --output; write your own columns to a copy.",
        )


def _rewrite(output: Path, rows: Iterable[dict[str, str | None]], keep: Any = None) -> None:
    arrow, parquet = load_parquet()
    schema = results_schema(arrow)
    beside = output.with_name(f".{output.name}.new")
    try:
        with _translated(output):
            with parquet.ParquetWriter(beside, schema, compression="zstd") as writer:
                for group in _groups(_chained(output, rows, keep)):
                    writer.write_table(arrow.Table.from_pylist(group, schema=schema))
            replace_durably(beside, output)
    finally:
        beside.unlink(missing_ok=True)


def _chained(output: Path, rows: Iterable[dict[str, str | None]], keep: Any) -> Iterator[Any]:
    if output.exists():
        _, parquet = load_parquet()
        with parquet.ParquetFile(output) as file:
            _check_columns(output, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=100):
                yield from (row for row in batch.to_pylist() if keep is None or keep(row))
    yield from rows


def _groups(rows: Iterable[dict[str, str | None]]) -> Iterator[list[dict[str, str | None]]]:
    group, size = list[dict[str, str | None]](), 0
    for row in rows:
        group.append(row)
        size += len(row["result"] or "")
        if len(group) >= _GROUP_ROWS or size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


class _translated:  # noqa: N801 - read as a word in `with`
    """What pyarrow and the disk raise, as OutputError."""

    def __init__(self, output: Path) -> None:
        self._output = output

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        arrow, _ = load_parquet()
        if isinstance(error, arrow.ArrowException) and not isinstance(error, OSError):
            raise OutputError(
                "batch-output-damaged",
                f"{self._output} is no Parquet file of a batch: {error}",
                hint="Move it away, or choose another --output.",
            ) from error
        if isinstance(error, OSError):
            raise OutputError(
                "output-not-written",
                f"{self._output} could not be written: {error.strerror or error}",
                hint="Free disk space or write elsewhere.",
            ) from error


def _json(result: Any) -> str:
    return json.dumps(result, ensure_ascii=False, separators=(",", ":"))


def _text(text: str) -> str:
    # Arrow takes no lone surrogates, which a model's JSON and a file's name may hold.
    return text.encode("utf-8", "replace").decode()
