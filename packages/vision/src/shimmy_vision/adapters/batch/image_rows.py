"""Rows that a batch is to do: image files, and the rows of Parquet files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeAlias

from shimmy_vision.adapters.batch.arrow import load_parquet
from shimmy_vision.domain.batch.row_outcome import sayable
from shimmy_vision.domain.image.file_kind import PDF, recognise_file
from shimmy_vision.errors import ImageError, UsageError

_HEAD = 1024  # bytes that tell a file's kind
# Rows of a Parquet file are held so many at a time, whatever is in them.
_ROWS_AT_ONCE = 8
_NAMES_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class FileBounds:
    """How many bytes are read of a file; one more is, so that intake refuses it."""

    image_bytes: int
    document_bytes: int

    def most(self, head: bytes) -> int:
        """Of a file that begins with ``head``."""
        return self.document_bytes if recognise_file(head) is PDF else self.image_bytes


@dataclass(frozen=True, slots=True)
class FileRow:
    """The image file at ``path``."""

    name: str
    path: Path
    bounds: FileBounds

    def read(self) -> bytes:
        """As the port says: image-not-found, image-unreadable."""
        try:
            with _opened_file(self.path) as file:
                head = file.read(_HEAD)
                return head + file.read(max(0, self.bounds.most(head) + 1 - len(head)))
        except FileNotFoundError as error:
            raise ImageError("image-not-found", f"There is no file {self.path}.") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ImageError("image-unreadable", f"{self.path} cannot be read: {reason}") from error


def _opened_file(path: Path) -> IO[bytes]:
    """A pipe would be waited for without end, and read once only. Raises OSError, ValueError."""
    if not path.is_file() and path.exists():
        raise ValueError("it is no file")
    return path.open("rb")


@dataclass(frozen=True, slots=True)
class HeldRow:
    """An image that came with its row."""

    name: str
    data: bytes = field(repr=False)

    def read(self) -> bytes:
        """As the port says."""
        return self.data


@dataclass(frozen=True, slots=True)
class EmptyRow:
    """A row without an image."""

    name: str
    why: str

    def read(self) -> bytes:
        """As the port says: batch-row-empty."""
        raise ImageError(
            "batch-row-empty", f"The row {self.why}.", hint="Fill it in, or leave the row out."
        )


Row: TypeAlias = FileRow | HeldRow | EmptyRow


@dataclass(frozen=True, slots=True)
class ParquetColumns:
    """``image`` holds files' bytes, their paths, or both as ``{"bytes", "path"}``; ``name``, if

    given, tells rows apart instead of their numbers.
    """

    image: str = "image"
    name: str | None = None


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Group ``group`` of the Parquet file at ``path``; its first row is number ``first`` there."""

    path: str
    group: int
    first: int
    rows: int


def plan_groups(paths: Sequence[Path], columns: ParquetColumns) -> list[RowGroup]:
    """Every group of rows. Raises UsageError batch-input-unreadable, batch-column-missing."""
    return [group for path in paths for group in _groups_of(path, columns)]


def group_rows(group: RowGroup, columns: ParquetColumns, bounds: FileBounds) -> Iterator[Row]:
    """The group's rows, a few of them held at a time. Raises as ``plan_groups``."""
    wanted = [columns.image, *([columns.name] if columns.name else [])]
    folder = Path(group.path).parent
    for number, row in enumerate(_rows_of(group, wanted, _ROWS_AT_ONCE), group.first):
        name = _name(group, number, row.get(columns.name) if columns.name else None)
        yield _row(name, row[columns.image], folder, bounds)


def group_names(group: RowGroup, columns: ParquetColumns) -> Iterator[str]:
    """The names of the group's rows, without their images. Raises as ``plan_groups``."""
    if columns.name is None:
        yield from (_name(group, group.first + number, None) for number in range(group.rows))
        return
    for number, row in enumerate(_rows_of(group, [columns.name], _NAMES_AT_ONCE), group.first):
        yield _name(group, number, row[columns.name])


def _rows_of(group: RowGroup, wanted: list[str], at_once: int) -> Iterator[dict[str, Any]]:
    path = Path(group.path)
    with _opened(path) as file:
        batches = file.iter_batches(batch_size=at_once, row_groups=[group.group], columns=wanted)
        while rows := _next_rows(path, batches):
            yield from rows


def _next_rows(path: Path, batches: Iterator[Any]) -> list[dict[str, Any]]:
    arrow, _ = load_parquet()
    try:
        batch = next(batches, None)
        return [] if batch is None else list(batch.to_pylist())
    except (OSError, arrow.ArrowException, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _name(group: RowGroup, number: int, given: Any) -> str:
    return f"{sayable(group.path)}#{number}" if given is None else str(given)


def _row(name: str, value: Any, folder: Path, bounds: FileBounds) -> Row:
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if value is None or value == "":
        return EmptyRow(name, "holds no image")
    if isinstance(value, bytes):
        return HeldRow(name, value)
    if not isinstance(value, str):
        return EmptyRow(name, f"holds a {type(value).__name__} where an image should be")
    if "://" in value:
        return EmptyRow(name, "names a URL, which batches do not fetch")
    return FileRow(name, folder / value, bounds)


def _groups_of(path: Path, columns: ParquetColumns) -> Iterator[RowGroup]:
    with _opened(path) as file:
        there = file.schema_arrow.names
        for wanted in (columns.image, columns.name):
            if wanted is not None and wanted not in there:
                raise UsageError(
                    "batch-column-missing",
                    f"{path} has no column '{wanted}'; it has: {', '.join(there)}.",
                    hint="Name the column of images with --column, of names with --name-column.",
                )
        first = 0
        for group in range(file.metadata.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            yield RowGroup(str(path), group, first, rows)
            first += rows


def _opened(path: Path) -> Any:
    arrow, parquet = load_parquet()
    try:
        return parquet.ParquetFile(path, memory_map=True)
    except (OSError, arrow.ArrowException) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UsageError:
    return UsageError(
        "batch-input-unreadable",
        f"{path} cannot be read as a Parquet file: {' '.join(str(error).split())[:300]}",
        hint="Look whether it is there and whole.",
    )
