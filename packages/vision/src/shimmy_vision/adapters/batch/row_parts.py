"""What machines of a cluster are told to do and tell back: units of rows, and parts of results."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from shimmy_vision.adapters.batch.arrow import load_parquet
from shimmy_vision.adapters.batch.image_rows import (
    FileBounds,
    FileRow,
    ParquetColumns,
    Row,
    RowGroup,
    group_names,
    group_rows,
)
from shimmy_vision.adapters.batch.parquet_results import FAILED, outcome_columns, results_schema
from shimmy_vision.domain.batch.row_outcome import RowDigest, RowFailure, RowOutcome, row_digest
from shimmy_vision.errors import OutputError
from shimmy_vision.ports.batch_rows import RowSink

# What a machine that dies has to do again, at most.
ROWS_A_UNIT = 16


@dataclass(frozen=True, slots=True)
class FileUnit:
    """Image files, each read where it is analysed."""

    rows: tuple[FileRow, ...]

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.rows)

    def read(self) -> Iterator[Row]:
        """Its rows."""
        yield from self.rows


@dataclass(frozen=True, slots=True)
class GroupUnit:
    """``numbers`` are those of a group's rows, counted from its first; all others are done."""

    group: RowGroup
    columns: ParquetColumns
    bounds: FileBounds
    numbers: frozenset[int]

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.numbers)

    def read(self) -> Iterator[Row]:
        """Its rows; what stands before them in the group is read over."""
        last = max(self.numbers)
        for number, row in enumerate(group_rows(self.group, self.columns, self.bounds)):
            if number in self.numbers:
                yield row
            if number == last:
                return


Unit: TypeAlias = FileUnit | GroupUnit


def plan_units(
    files: Sequence[FileRow],
    groups: Sequence[RowGroup],
    columns: ParquetColumns,
    bounds: FileBounds,
    is_done: Callable[[RowDigest], bool],
) -> list[Unit]:
    """Everything that is not done. Raises as ``group_names``."""

    def is_left(name: str) -> bool:
        return not is_done(row_digest(name))

    left = [row for row in files if is_left(row.name)]
    units: list[Unit] = [FileUnit(tuple(some)) for some in _chunks(left)]
    for group in groups:
        names = enumerate(group_names(group, columns))
        numbers = [number for number, name in names if is_left(name)]
        units += [GroupUnit(group, columns, bounds, frozenset(some)) for some in _chunks(numbers)]
    return units


def outcomes_table(outcomes: Sequence[RowOutcome]) -> Any:
    """``outcomes`` as a part holds them."""
    arrow, _ = load_parquet()
    rows = [outcome_columns(one) for one in outcomes]
    return arrow.Table.from_pylist(rows, schema=results_schema(arrow))


def write_part(folder: Path, outcomes: Sequence[RowOutcome]) -> None:
    """A part of its own. Where it cannot be written its rows are done again, and not counted."""
    _, parquet = load_parquet()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        parquet.write_table(outcomes_table(outcomes), folder / f"{uuid.uuid4().hex}.parquet")


def read_parts(folder: Path) -> Iterator[tuple[Path, list[RowOutcome]]]:
    """Each part and its outcomes; one that was not finished is taken away. Raises OutputError."""
    arrow, parquet = load_parquet()
    for path in sorted(folder.rglob("*.parquet")) if folder.exists() else ():
        try:
            rows = parquet.ParquetFile(path).read().to_pylist()
        except (arrow.ArrowInvalid, OSError):
            # Whoever wrote it was killed: its rows are done again, and not counted again.
            _remove(path)
            continue
        yield path, [_outcome(row) for row in rows]


def fold_parts(folder: Path, sink: RowSink, hear: Callable[[RowOutcome], None]) -> None:
    """Take parts into ``sink``, each row once, and away. Raises OutputError."""
    taken = []
    for path, outcomes in read_parts(folder):
        for one in outcomes:
            if not sink.is_done(row_digest(one.name)):
                sink.write(one)
                hear(one)
        taken.append(path)
    # Where the power is cut now, each row is on the disk in one place at least.
    sink.sync()
    for path in taken:
        _remove(path)


def _outcome(row: dict[str, Any]) -> RowOutcome:
    error = None
    if row["status"] == FAILED:
        error = RowFailure(row["code"], row["message"], row["hint"])
    result = None if row["result"] is None else json.loads(row["result"])
    return RowOutcome(row["image"], row["sha256"], result, error)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            "output-not-written",
            f"{path} could not be taken away: {error.strerror or error}",
            hint="Free disk space or write elsewhere.",
        ) from error


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), ROWS_A_UNIT):
        yield values[start : start + ROWS_A_UNIT]
