"""What ``shimmy batch --ray`` works with: here, and in each actor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from shimmy_vision.adapters.batch.batch_output import (
    claimed_output,
    finish_output,
    opened_lines,
    parts_of,
)
from shimmy_vision.adapters.batch.image_rows import Row
from shimmy_vision.adapters.batch.ray_cluster import (
    ClusterOrder,
    RowWorker,
    analyse_on_cluster,
)
from shimmy_vision.adapters.batch.row_parts import fold_parts, plan_units
from shimmy_vision.domain.batch.batch_identity import BatchIdentity
from shimmy_vision.domain.batch.row_outcome import RowOutcome
from shimmy_vision.ports.batch_rows import RowTally, TallyListener
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.settings import forbid_ray_reports, read_settings
from shimmy_vision.use_cases.analyze_row import RowWork, analyze_row
from shimmy_vision.wiring.batch import BatchOrder, batch_parts
from shimmy_vision.wiring.serving import open_analyst


def cluster_order(
    address: str, actors: int, parallel: int, cpus: float, gpus: float
) -> ClusterOrder:
    """For whoever reads a command's words."""
    return ClusterOrder(address, actors, parallel, cpus, gpus)


def run_on_cluster(
    order: BatchOrder, cluster: ClusterOrder, listener: TallyListener, tell: Callable[[str], None]
) -> RowTally:
    """Do all rows that are not done, on Ray's cluster; ``tell`` is told what the user should know.

    Raises as ``analyse_on_cluster``; parts that are written by then are kept, whatever happens.
    """
    forbid_ray_reports()
    tally = RowTally()
    with claimed_output(order.output, order.asked(read_settings())) as identity:
        parts = parts_of(order.output)
        with opened_lines(order.output, again=order.again) as sink:
            files, groups, bounds = batch_parts(order)
            rows = len(files) + sum(group.rows for group in groups)
            units = plan_units(files, groups, order.columns, bounds, sink.is_done)
            tally.kept = rows - sum(unit.count for unit in units)
            listener(tally)

            def hear(outcome: RowOutcome) -> None:
                tally.count(outcome)
                listener(tally)

            opener = partial(open_row_worker, order, identity)
            try:
                if units:
                    analyse_on_cluster(units, opener, bounds, parts, cluster, tell)
            finally:
                fold_parts(parts, sink, hear)
        finish_output(order.output)
    return tally


@contextmanager
def open_row_worker(order: BatchOrder, identity: BatchIdentity) -> Iterator[RowWorker]:
    """In an actor: an engine process with the settings of the machine that it is on."""
    with open_analyst(read_settings(), order.vision, order.parallel) as analyst:
        if order.seconds is not None:
            # A row's time is for the row, not for loading the model.
            analyst.prepare(Cancellation())
        work = RowWork(analyst, order.request, identity, order.seconds)
        analyse: Callable[[Row], RowOutcome] = lambda row: analyze_row(  # noqa: E731
            row, work, Cancellation()
        )
        yield analyse
