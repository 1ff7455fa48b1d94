"""What ``shimmy batch`` works with, here and on the machines of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from shimmy_vision.adapters.batch.batch_output import (
    PARQUET,
    claimed_output,
    finish_output,
    opened_lines,
)
from shimmy_vision.adapters.batch.image_rows import (
    FileBounds,
    FileRow,
    ParquetColumns,
    Row,
    RowGroup,
    group_names,
    group_rows,
    plan_groups,
)
from shimmy_vision.domain.answer.analysis_request import DocumentRequest
from shimmy_vision.domain.batch.batch_identity import digest_request
from shimmy_vision.domain.batch.row_outcome import count_names, sayable
from shimmy_vision.ports.batch_rows import RowTally, TallyListener
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.vision_order import VisionOrder
from shimmy_vision.settings import Settings
from shimmy_vision.use_cases.analyze_row import RowWork
from shimmy_vision.use_cases.analyze_rows import analyze_rows
from shimmy_vision.wiring.serving import open_analyst


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """What a batch does. ``inputs`` are (name, path); those that end in .parquet hold many rows.

    ``parallel`` rows are done at once in one engine; ``seconds`` bounds each image and page;
    ``again`` has rows that failed before done anew.
    """

    vision: VisionOrder
    request: DocumentRequest
    inputs: tuple[tuple[str, Path], ...]
    output: Path
    columns: ParquetColumns
    parallel: int = 1
    seconds: float | None = None
    again: bool = False

    def asked(self, settings: Settings) -> str:
        """The digest of what must be the same for one output."""
        model = self.vision.model or settings.model
        return digest_request(self.request, more={"model": model, "engine": settings.engine})


def count_rows(order: BatchOrder) -> int:
    """How many rows the inputs have. Raises UsageError batch-name-twice, and about Parquet files.

    Before anything is analysed: what is wrong with the last row must not be found out at the last.
    """
    files, groups, _ = batch_parts(order)
    named = (name for group in groups for name in group_names(group, order.columns))
    return count_names(chain((row.name for row in files), named))


def run_batch(
    settings: Settings, order: BatchOrder, cancellation: Cancellation, listener: TallyListener
) -> RowTally:
    """Do all rows that are not done, in an engine process of this machine.

    Raises as ``analyze_rows``; what was done is kept whatever happens.
    """
    with claimed_output(order.output, order.asked(settings)) as identity:
        with (
            opened_lines(order.output, again=order.again) as sink,
            open_analyst(settings, order.vision, order.parallel) as analyst,
        ):
            work = RowWork(analyst, order.request, identity, order.seconds)
            rows = _rows(order)
            tally = analyze_rows(rows, work, sink, cancellation, listener, parallel=order.parallel)
        finish_output(order.output)
    return tally


def parquet_columns(image: str, name: str | None) -> ParquetColumns:
    """For whoever reads a command's words."""
    return ParquetColumns(image, name)


def is_parquet(path: Path) -> bool:
    """Whether the name says so."""
    return path.suffix.lower() == PARQUET


def batch_parts(order: BatchOrder) -> tuple[list[FileRow], list[RowGroup], FileBounds]:
    """The inputs: image files, groups of rows in Parquet files, and how much is read of a file."""
    bounds = FileBounds(order.vision.max_image_bytes, order.vision.max_document_bytes)
    files = [FileRow(sayable(n), path, bounds) for n, path in order.inputs if not is_parquet(path)]
    tables = [path for _, path in order.inputs if is_parquet(path)]
    return files, plan_groups(tables, order.columns), bounds


def _rows(order: BatchOrder) -> Iterator[Row]:
    files, groups, bounds = batch_parts(order)
    yield from files
    for group in groups:
        yield from group_rows(group, order.columns, bounds)
