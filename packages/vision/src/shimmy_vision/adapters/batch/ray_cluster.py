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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from shimmy_vision.adapters.batch.arrow import load_parquet
from shimmy_vision.adapters.batch.image_rows import EmptyRow, FileBounds, FileRow, HeldRow, Row
from shimmy_vision.adapters.batch.row_parts import (
    ROWS_A_UNIT,
    Unit,
    outcomes_table,
    write_part,
)
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
    tell: Callable[[str], None],
) -> None:
    """Do all units; their outcomes are files in ``parts``, a folder that all machines share.

    ``tell`` is told what a user should know of who waits for the cluster to grow.

    Raises UsageError cluster-extra-missing and cluster-unreachable, LibraryError cluster-failed,
    and whatever concerns every row.
    """
    ray, data = _load_ray()
    with _connected(ray, order):
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        if not any(_has_room(node, order) for node in ray.nodes()):
            tell(
                f"No machine of the cluster has {order.cpus:g} CPUs and {order.gpus:g} GPUs for an "
                "actor: waiting for one that has. See --actor-cpus and --actor-gpus."
            )
        blobs = [{"unit": pickle.dumps(one)} for one in units]
        try:
            (
                data.from_items(blobs, override_num_blocks=len(blobs))
                # Neither reserves anything: the engines may have all the machines' cores.
                .map_batches(read_units, batch_size=1, num_cpus=0)
                .map_batches(
                    Engine,
                    fn_constructor_args=(open_worker, bounds, parts.absolute(), order.parallel),
                    compute=data.ActorPoolStrategy(size=order.actors),
                    # With GPUs Ray wants a number.
                    batch_size=ROWS_A_UNIT,
                    batch_format="pyarrow",
                    num_cpus=order.cpus,
                    num_gpus=order.gpus,
                )
                .write_parquet(str(parts.absolute()), ray_remote_args={"num_cpus": 0})
            )
        except (ray.exceptions.RayError, OSError, RuntimeError, ValueError) as error:
            raise _told(error) from error


def _has_room(node: Mapping[str, Any], order: ClusterOrder) -> bool:
    there = node["Resources"]
    enough = there.get("CPU", 0) >= order.cpus and there.get("GPU", 0) >= order.gpus
    return bool(node["Alive"]) and enough


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

    def __init__(
        self, open_worker: OpenWorker, bounds: FileBounds, parts: Path, parallel: int
    ) -> None:
        self._ending = ExitStack()
        try:
            self._work = self._ending.enter_context(open_worker())
        except ShimmyError as error:
            raise BatchStopped(_said(error)) from error
        self._bounds, self._parts, self._parallel = bounds, parts, parallel

    def __call__(self, table: Any) -> Any:
        """Outcomes in place of rows. Raises BatchStopped, once what was done by then is written."""
        rows = [_read_row(one, self._bounds) for one in table.to_pylist()]
        outcomes, failures = list[RowOutcome](), list[ShimmyError]()

        def work(row: Row) -> None:
            if failures:
                return
            try:
                outcomes.append(self._work(row))
            except ShimmyError as error:
                failures.append(error)

        with ThreadPoolExecutor(self._parallel) as threads:
            list(threads.map(work, rows))
        if failures:
            # Ray takes all of a unit or nothing, and these are counted.
            write_part(self._parts, outcomes)
            raise BatchStopped(_said(failures[0])) from failures[0]
        return outcomes_table(outcomes)

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
