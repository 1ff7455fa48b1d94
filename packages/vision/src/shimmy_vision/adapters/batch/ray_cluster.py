"""Ray Data: units of rows are read, analysed by actors with an engine each, written as Parquet.

An actor that dies is started anew and its unit is done again, by whoever is free; its pages are
counted under the same keys, and so once. Parts are written by Ray Data; a part that is written
twice has the same name.
"""

from __future__ import annotations

import importlib
import json
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from shimmy_vision.adapters.batch.arrow import load_parquet
from shimmy_vision.adapters.batch.image_rows import EmptyRow, FileBounds, FileRow, HeldRow, Row
from shimmy_vision.adapters.batch.parquet_results import outcome_columns, results_schema
from shimmy_vision.adapters.batch.row_parts import Unit
from shimmy_vision.domain.batch.row_outcome import RowOutcome
from shimmy_vision.errors import LibraryError, ShimmyError, UsageError, error_of_kind, kind_of

LOCAL = "local"

RowWorker: TypeAlias = Callable[[Row], RowOutcome]
OpenWorker: TypeAlias = Callable[[], AbstractContextManager[RowWorker]]
"""Is sent to every actor, so that it must be picklable; opens an engine there."""

_STOP = re.compile(r"shimmy-stop (\{.*?\}) shimmy-end", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ClusterOrder:
    """``address`` is Ray's, or ``local`` for a cluster of this machine that ends with the run.

    ``actors`` engines work at once, each with ``parallel`` rows, reserving ``cpus`` and ``gpus``.
    """

    address: str
    actors: int
    parallel: int = 1
    cpus: float = 1
    gpus: float = 0


def analyse_on_cluster(
    units: Sequence[Unit],
    open_worker: OpenWorker,
    bounds: FileBounds,
    parts: Path,
    order: ClusterOrder,
) -> None:
    """Do all units; their outcomes are files in ``parts``, a folder that all machines share.

    Raises UsageError cluster-extra-missing and cluster-unreachable, LibraryError cluster-failed,
    and whatever concerns every row.
    """
    ray, data = _load_ray()
    with _connected(ray, order):
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        blobs = [{"unit": pickle.dumps(one)} for one in units]
        try:
            (
                data.from_items(blobs, override_num_blocks=len(blobs))
                # Neither reserves anything: the engines may have all the machines' cores.
                .map_batches(read_units, batch_size=1, num_cpus=0)
                .map_batches(
                    Engine,
                    fn_constructor_args=(open_worker, bounds, order.parallel),
                    compute=data.ActorPoolStrategy(size=order.actors),
                    batch_size=None,
                    batch_format="pyarrow",
                    num_cpus=order.cpus,
                    num_gpus=order.gpus,
                )
                .write_parquet(str(parts.absolute()), ray_remote_args={"num_cpus": 0})
            )
        except ray.exceptions.RayError as error:
            raise _told(error) from error


def read_units(batch: dict[str, Any]) -> Iterator[Any]:
    """On a machine of the cluster: the rows of units, images in files by their path."""
    arrow, _ = load_parquet()
    schema = arrow.schema(
        [
            arrow.field("name", arrow.string()),
            arrow.field("path", arrow.string()),
            arrow.field("data", arrow.large_binary()),
            arrow.field("why", arrow.string()),
        ]
    )
    for blob in batch["unit"]:
        # What was pickled is this program's own, sent by its own driver through the cluster.
        unit: Unit = pickle.loads(bytes(blob))  # noqa: S301
        rows = [_row_columns(row) for row in unit.read()]
        yield arrow.Table.from_pylist(rows, schema=schema)


class Engine:
    """An actor: one engine, for as long as the actor lives."""

    def __init__(self, open_worker: OpenWorker, bounds: FileBounds, parallel: int) -> None:
        self._ending = ExitStack()
        try:
            self._work = self._ending.enter_context(open_worker())
        except ShimmyError as error:
            raise BatchStopped(_said(error)) from error
        self._bounds, self._parallel = bounds, parallel

    def __call__(self, table: Any) -> Any:
        """Outcomes in place of rows. Raises BatchStopped."""
        arrow, _ = load_parquet()
        rows = [_read_row(one, self._bounds) for one in table.to_pylist()]
        try:
            with ThreadPoolExecutor(self._parallel) as threads:
                outcomes = list(threads.map(self._work, rows))
        except ShimmyError as error:
            raise BatchStopped(_said(error)) from error
        return arrow.Table.from_pylist(
            [outcome_columns(one) for one in outcomes], schema=results_schema(arrow)
        )

    def __del__(self) -> None:
        """Ray lets go of an actor's object before it ends the actor."""
        self._ending.close()


class BatchStopped(Exception):  # noqa: N818 - no error of the tree: it carries one
    """What concerns every row, as text: Ray hands on an error's words, and pickles its class."""


def _said(error: ShimmyError) -> str:
    told = {
        "kind": kind_of(error),
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "retryable": error.retryable,
    }
    return f"shimmy-stop {json.dumps(told)} shimmy-end"


def _told(error: BaseException) -> ShimmyError:
    """The error that an actor stopped with; anything else is the cluster's own."""
    found = _STOP.search(str(error))
    if found is not None:
        told = json.loads(found[1])
        kind, code, message = told.pop("kind"), told.pop("code"), told.pop("message")
        return error_of_kind(kind, code, message, **told)
    return LibraryError(
        "cluster-failed",
        f"Ray could not finish the batch ({type(error).__name__}).",
        hint="What is done is kept; the same command goes on. Ray's own logs say more.",
        retryable=True,
    )


class _connected:  # noqa: N801 - read as a word in `with`
    """A connection to the cluster, for the block."""

    def __init__(self, ray: Any, order: ClusterOrder) -> None:
        self._ray, self._order = ray, order

    def __enter__(self) -> None:
        local = {"include_dashboard": False} if self._order.address == LOCAL else {}
        try:
            self._ray.init(
                address=self._order.address,
                log_to_driver=False,
                logging_level="ERROR",
                configure_logging=False,
                **local,
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise UsageError(
                "cluster-unreachable",
                f"There is no Ray cluster at {self._order.address}, or it does not let this "
                f"program in ({type(error).__name__}).",
                hint="Look with: ray status --address ADDRESS. Ray's version must be the same "
                "everywhere.",
            ) from error

    def __exit__(self, *_: object) -> None:
        self._ray.shutdown()


def _load_ray() -> tuple[Any, Any]:
    try:
        return importlib.import_module("ray"), importlib.import_module("ray.data")
    except ImportError as error:
        raise UsageError(
            "cluster-extra-missing",
            "--ray needs the package ray, which is not installed.",
            hint="Install it on every machine: pip install 'shimmy-vision[ray]'",
        ) from error


def _row_columns(row: Row) -> dict[str, Any]:
    match row:
        case FileRow(name, path, _):
            return {"name": name, "path": str(path), "data": None, "why": None}
        case HeldRow(name, data):
            return {"name": name, "path": None, "data": data, "why": None}
        case EmptyRow(name, why):
            return {"name": name, "path": None, "data": None, "why": why}


def _read_row(told: dict[str, Any], bounds: FileBounds) -> Row:
    if told["path"] is not None:
        return FileRow(told["name"], Path(told["path"]), bounds)
    if told["why"] is not None:
        return EmptyRow(told["name"], told["why"])
    return HeldRow(told["name"], told["data"])
