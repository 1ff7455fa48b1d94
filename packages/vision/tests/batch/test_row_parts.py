"""What a cluster is told and tells back, without a cluster: benchmarks/ray_cluster.py has one."""

from __future__ import annotations

import errno
import importlib
import os
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
from shimmy_vision.adapters.batch.batch_output import (
    finish_output,
    lines_of,
    opened_lines,
    parts_of,
)
from shimmy_vision.adapters.batch.image_rows import (
    FileBounds,
    FileRow,
    ParquetColumns,
    Row,
    plan_groups,
)
from shimmy_vision.adapters.batch.parquet_results import outcome_columns, results_schema
from shimmy_vision.adapters.batch.ray_cluster import BatchStopped, ClusterOrder, Engine
from shimmy_vision.adapters.batch.row_parts import ROWS_A_UNIT, plan_units, read_parts
from shimmy_vision.domain.batch.row_outcome import RowFailure, RowOutcome, row_digest
from shimmy_vision.errors import ImageError, LicenceError, OutputError, ShimmyError, UsageError

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


def _outcome(name: str, *, failed: bool = False) -> RowOutcome:
    error = RowFailure("image-not-found", "No.", "") if failed else None
    return RowOutcome(name, "", None if failed else {"text": name}, error)


def _part(path: Path, *outcomes: RowOutcome) -> None:
    path.parent.mkdir(exist_ok=True)
    rows = [outcome_columns(one) for one in outcomes]
    pq.write_table(pa.Table.from_pylist(rows, schema=results_schema(pa)), path)


def test_a_part_stays_until_its_rows_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.jsonl"
    _part(parts_of(output) / "1.parquet", _outcome("a"))

    def unsynced(_file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", unsynced)
        with pytest.raises(OutputError, match="Input/output"), opened_lines(output, again=False):
            pass
    assert len(list(parts_of(output).iterdir())) == 1
    with opened_lines(output, again=False) as sink:
        assert sink.is_done(row_digest("a"))
    assert output.read_text().count("\n") == 1


def test_a_part_of_which_pages_failed_comes_back_whole(tmp_path: Path) -> None:
    torn = {"page": 1, "error": {"code": "document-page-damaged", "message": "", "hint": ""}}
    outcome = RowOutcome("a.pdf", "", {"pages": [torn]}, None)
    _part(tmp_path / "parts/1.parquet", outcome)
    ((_, outcomes),) = read_parts(tmp_path / "parts")
    assert outcomes == [outcome]


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
    finish_output(output)
    assert not parts.exists()


@dataclass
class Worker:
    error: ShimmyError | None = None
    good: int = 0

    def __call__(self, row: Row) -> RowOutcome:
        if self.error is not None:
            if self.good == 0:
                raise self.error
            self.good -= 1
        try:
            return RowOutcome(row.name, "", {"bytes": len(row.read())}, None)
        except ImageError as error:
            return RowOutcome(row.name, "", None, RowFailure(error.code, "", ""))


OPENED: list[str] = []


@contextmanager
def open_worker(error: ShimmyError | None = None, good: int = 0) -> Iterator[Worker]:
    OPENED.append("open")
    yield Worker(error, good)
    OPENED.append("closed")


def test_an_actor_answers_rows_with_outcomes_and_closes_its_engine(table: Path) -> None:
    OPENED.clear()
    units = plan_units(
        [FileRow("gone.png", Path("gone"), BOUNDS)],
        plan_groups([table], COLUMNS), COLUMNS, BOUNDS, lambda _: False,
    )  # fmt: skip
    engine = Engine(open_worker, BOUNDS, Path("gone"), 2)
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


def test_what_concerns_every_row_comes_back_from_an_actor_as_it_was(
    table: Path, tmp_path: Path
) -> None:
    error = LicenceError("page-cap-reached", 'All "used".', hint="Buy {more}.")
    files = [FileRow(name, table, BOUNDS) for name in "abcd"]
    (unit,) = plan_units(files, [], COLUMNS, BOUNDS, lambda _: False)
    (rows,) = ray_cluster.read_units({"unit": [pickle.dumps(unit)]})
    engine = Engine(lambda: open_worker(error, good=2), BOUNDS, tmp_path / "parts", 1)
    with pytest.raises(BatchStopped) as caught:
        engine(rows)
    # Two were done and counted before the licence ended.
    ((_, kept),) = read_parts(tmp_path / "parts")
    assert [one.name for one in kept] == ["a", "b"]
    # As Ray hands it on: pickled, and within words of its own.
    carried = pickle.loads(pickle.dumps(caught.value))  # noqa: S301
    told = ray_cluster._told(RuntimeError(f"ray::map() (pid=7)\n{carried}\nThe above exception"))
    assert isinstance(told, LicenceError)
    assert (told.code, told.message, told.hint) == (error.code, error.message, error.hint)
    assert ray_cluster._told(RuntimeError("lost")).code == "cluster-failed"


@pytest.mark.parametrize(
    ("node", "has"),
    [
        ({"Alive": True, "Resources": {"CPU": 2.0, "GPU": 1.0}}, True),
        ({"Alive": True, "Resources": {"CPU": 2.0}}, False),
        ({"Alive": True, "Resources": {"GPU": 1.0}}, False),
        ({"Alive": False, "Resources": {"CPU": 2.0, "GPU": 1.0}}, False),
    ],
)
def test_a_machine_has_room_for_an_actor_or_not(node: dict[str, Any], *, has: bool) -> None:
    order = ClusterOrder("auto", 1, cpus=2, gpus=1)
    assert ray_cluster._has_room(node, order) is has


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name.startswith("ray"):
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    order = ClusterOrder("auto", 1)
    with pytest.raises(UsageError, match="package ray") as caught:
        ray_cluster.analyse_on_cluster([], open_worker, BOUNDS, tmp_path, order, print)
    assert caught.value.code == "cluster-extra-missing"
    assert "shimmy-vision[ray]" in caught.value.hint
