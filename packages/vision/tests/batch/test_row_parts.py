"""What a cluster is told and tells back, without a cluster: benchmarks/ray_cluster.py has one."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_vision.adapters.batch import ray_cluster
from shimmy_vision.adapters.batch.batch_output import lines_of, opened_lines, parts_of
from shimmy_vision.adapters.batch.image_rows import (
    FileBounds,
    FileRow,
    ParquetColumns,
    Row,
    plan_groups,
)
from shimmy_vision.adapters.batch.parquet_results import outcome_columns, results_schema
from shimmy_vision.adapters.batch.ray_cluster import BatchStopped, ClusterOrder, Engine
from shimmy_vision.adapters.batch.row_parts import ROWS_A_UNIT, plan_units
from shimmy_vision.domain.batch.row_outcome import RowFailure, RowOutcome, row_digest
from shimmy_vision.errors import ImageError, LicenceError, ShimmyError, UsageError

BOUNDS, COLUMNS = FileBounds(100, 200), ParquetColumns()


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "in.parquet"
    images = [None if number == 3 else f"image {number}".encode() for number in range(50)]
    pq.write_table(pa.table({"image": images}), path, row_group_size=20)
    return path


@settings(max_examples=25)
@given(st.sets(st.integers(0, 49)), st.integers(0, 40))
def test_units_are_what_is_left_each_row_once(table: Path, done: set[int], files: int) -> None:
    digests = {row_digest(f"{table}#{number}") for number in done}
    rows = [FileRow(f"{number}.png", Path("gone"), BOUNDS) for number in range(files)]
    units = plan_units(rows, plan_groups([table], COLUMNS), COLUMNS, BOUNDS, digests.__contains__)
    told = [row.name for unit in units for row in unit.read()]
    left = [f"{table}#{number}" for number in range(50) if number not in done]
    assert told == [row.name for row in rows] + left
    assert all(0 < unit.count <= ROWS_A_UNIT for unit in units)
    assert sum(unit.count for unit in units) == len(told)


def test_two_rows_of_one_name_are_refused(table: Path) -> None:
    rows = [FileRow("a", Path("a"), BOUNDS), FileRow("a", Path("b"), BOUNDS)]
    with pytest.raises(UsageError) as caught:
        plan_units(rows, [], COLUMNS, BOUNDS, lambda _: False)
    assert caught.value.code == "batch-name-twice"


def _outcome(name: str, *, failed: bool = False) -> RowOutcome:
    error = RowFailure("image-not-found", "No.", "") if failed else None
    return RowOutcome(name, "", None if failed else {"text": name}, error)


def _part(path: Path, *outcomes: RowOutcome) -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [outcome_columns(one) for one in outcomes]
    pq.write_table(pa.Table.from_pylist(rows, schema=results_schema(pa)), path)


def test_parts_of_a_run_that_was_killed_are_taken_in_once(tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    parts = parts_of(output)
    with opened_lines(output, again=False) as sink:
        sink.write(_outcome("a"))
    _part(parts / "1.parquet", _outcome("a"), _outcome("b", failed=True))
    _part(parts / "2.parquet", _outcome("b", failed=True), _outcome("c"))
    torn = (parts / "2.parquet").read_bytes()[:-9]
    (parts / "3.parquet").write_bytes(torn)
    with opened_lines(output, again=False) as sink:
        assert [sink.is_done(row_digest(name)) for name in "abc"] == [True] * 3
    assert not list(parts.iterdir())
    assert lines_of(output).read_text().count("\n") == 3


@dataclass
class Worker:
    error: ShimmyError | None = None

    def __call__(self, row: Row) -> RowOutcome:
        if self.error is not None:
            raise self.error
        try:
            return RowOutcome(row.name, "", {"bytes": len(row.read())}, None)
        except ImageError as error:
            return RowOutcome(row.name, "", None, RowFailure(error.code, "", ""))


OPENED: list[str] = []


@contextmanager
def open_worker(error: ShimmyError | None = None) -> Iterator[Worker]:
    OPENED.append("open")
    yield Worker(error)
    OPENED.append("closed")


def test_an_actor_answers_rows_with_outcomes_and_closes_its_engine(table: Path) -> None:
    OPENED.clear()
    units = plan_units(
        [FileRow("gone.png", Path("gone"), BOUNDS)],
        plan_groups([table], COLUMNS), COLUMNS, BOUNDS, lambda _: False,
    )  # fmt: skip
    engine = Engine(open_worker, BOUNDS, 2)
    told: list[dict[str, Any]] = []
    for unit in units:
        for rows in ray_cluster.read_units({"unit": [pickle.dumps(unit)]}):
            told += engine(rows).to_pylist()
    assert [row["image"] for row in told] == [
        "gone.png", *(f"{table}#{number}" for number in range(50))
    ]  # fmt: skip
    assert [row["code"] for row in told if row["status"] == "failed"] == [
        "image-not-found",
        "batch-row-empty",
    ]
    assert told[-1]["result"] == '{"bytes":8}'
    del engine
    assert OPENED == ["open", "closed"]


def test_what_concerns_every_row_comes_back_from_an_actor_as_it_was(table: Path) -> None:
    error = LicenceError("page-cap-reached", 'All "used".', hint="Buy {more}.")
    (unit, *_) = plan_units([FileRow("a", table, BOUNDS)], [], COLUMNS, BOUNDS, lambda _: False)
    (rows,) = ray_cluster.read_units({"unit": [pickle.dumps(unit)]})
    engine = Engine(lambda: open_worker(error), BOUNDS, 1)
    with pytest.raises(BatchStopped) as caught:
        engine(rows)
    # As Ray hands it on: pickled, and within words of its own.
    carried = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    told = ray_cluster._told(RuntimeError(f"ray::map() (pid=7)\n{carried}\nThe above exception"))
    assert isinstance(told, LicenceError)
    assert (told.code, told.message, told.hint) == (error.code, error.message, error.hint)
    assert ray_cluster._told(RuntimeError("lost")).code == "cluster-failed"


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name.startswith("ray"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    order = ClusterOrder("auto", 1)
    with pytest.raises(UsageError, match="package ray") as caught:
        ray_cluster.analyse_on_cluster([], open_worker, BOUNDS, tmp_path, order)
    assert caught.value.code == "cluster-extra-missing"
    assert "shimmy-vision[ray]" in caught.value.hint
