"""``shimmy batch``: many images into one file of results; it goes on where it was stopped."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from shimmy_vision.cli.arguments import (
    add_engine_arguments,
    add_licence_arguments,
    add_question_arguments,
    positive_integer,
    share,
)
from shimmy_vision.cli.exit_codes import OK, SOME_FAILED
from shimmy_vision.cli.image_sources import ImageSource, find_sources
from shimmy_vision.cli.supervise import Interrupts, supervise
from shimmy_vision.cli.vision import read_request
from shimmy_vision.errors import ShimmyError, UsageError

if TYPE_CHECKING:
    from shimmy_vision.cli.batch_bar import BatchBar
    from shimmy_vision.ports.batch_rows import RowTally, TallyListener
    from shimmy_vision.wiring.batch import BatchOrder

_EPILOG = (
    "The same command goes on where it was stopped. Exit codes: 0 ok, 1 some rows failed, "
    "2 licence, 3 model or library, 4 output, 64 usage, 130 interrupted"
)
_FORMS = (".jsonl", ".parquet")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.epilog = _EPILOG
    add = parser.add_argument
    add("inputs", nargs="+", metavar="INPUT", help="image, PDF, .parquet, 'pattern' or folder")
    add("--output", required=True, type=Path, metavar="FILE", help="a .jsonl or .parquet file")
    add("--column", default="image", metavar="NAME", help="of images in .parquet; default: image")
    add("--name-column", metavar="NAME", help="of rows' names in .parquet; default: their numbers")
    add("--retry-failed", action="store_true", help="do rows again that failed before")
    add("--parallel", type=positive_integer, default=1, metavar="N", help="rows at once; default 1")
    add_question_arguments(parser)
    add_engine_arguments(parser)
    _add_cluster(parser)
    add_licence_arguments(parser)


def _add_cluster(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--ray", metavar="ADDRESS", help="a Ray cluster, HOST:PORT or auto; local: of this machine")
    add("--actors", type=positive_integer, default=1, metavar="N", help="of the cluster; default 1")
    add("--actor-cpus", type=share, default=1, metavar="N", help="each reserves; default 1")
    add("--actor-gpus", type=share, default=0, metavar="N", help="each reserves; default 0")


def run(args: argparse.Namespace) -> int:
    """Do what is not done; one JSON line about it on standard output."""
    _check_cluster(args)
    order = _order(args)
    # Imported here so that usage errors and --help never wait for numpy and httpx.
    from shimmy_vision.cli.batch_bar import BatchBar
    from shimmy_vision.wiring.batch import count_rows

    with BatchBar(count_rows(order)) as bar:
        try:
            tally = _run_here(order, bar.show) if args.ray is None else _run_far(args, order, bar)
        except (ShimmyError, KeyboardInterrupt):
            bar.close()
            _tell(_said(bar.tally))
            raise
    return _verdict(order, tally)


def _run_here(order: BatchOrder, listener: TallyListener) -> RowTally:
    from shimmy_vision.settings import read_settings
    from shimmy_vision.wiring.batch import run_batch

    settings = read_settings()
    with Interrupts() as interrupts:
        return supervise(
            lambda switch: run_batch(settings, order, switch, listener), interrupts, timeout=None
        )


def _run_far(args: argparse.Namespace, order: BatchOrder, bar: BatchBar) -> RowTally:
    """Ctrl-C is Ray's: it ends its work, and what is written by then is kept."""
    from shimmy_vision.wiring.cluster import cluster_order, run_on_cluster

    cluster = cluster_order(args.ray, args.actors, args.parallel, args.actor_cpus, args.actor_gpus)
    # Standard output is for the verdict; Ray says on it what happens to its nodes.
    with redirect_stdout(sys.stderr):
        return run_on_cluster(order, cluster, bar.show, _tell)


def _check_cluster(args: argparse.Namespace) -> None:
    if args.ray is not None and (args.license or args.machine_id):
        raise UsageError(
            "cluster-licence-here",
            "--license and --machine-id are of one machine, and nothing of them is sent to others.",
            hint="Activate a licence on each machine of the cluster, or set SHIMMY_LICENSE_KEY "
            "where its Ray is started.",
        )


def _order(args: argparse.Namespace) -> BatchOrder:
    request = read_request(args)
    inputs = _inputs(args.inputs)
    # What is beside a link is not beside the file: two names of one output would be two batches.
    output = args.output.resolve() if args.output.is_symlink() else args.output
    if output.suffix not in _FORMS:
        raise UsageError(
            "batch-output-form",
            f"The output {output} is neither {' nor '.join(_FORMS)}.",
            hint="The name's end says what is written: --output results.jsonl",
        )
    from shimmy_vision.ports.cache_limits import ONE_RUN
    from shimmy_vision.ports.vision_order import LicenceOrder, VisionOrder
    from shimmy_vision.wiring.batch import BatchOrder, parquet_columns

    vision = VisionOrder(
        model=args.model,
        threads=args.threads,
        gpu_layers=args.gpu_layers,
        max_image_bytes=args.max_image_mb * 1_000_000,
        max_dimension=args.max_dim,
        request=request.analysis,
        verify=args.verify,
        licence=LicenceOrder(args.license, args.machine_id),
        max_document_bytes=args.max_pdf_mb * 1_000_000,
        sequences=args.parallel,
        caches=ONE_RUN,
    )
    return BatchOrder(
        vision=vision,
        request=request,
        inputs=inputs,
        output=output,
        columns=parquet_columns(args.column, args.name_column),
        parallel=args.parallel,
        seconds=args.timeout / 1000 if args.timeout else None,
        again=args.retry_failed,
    )


def _inputs(words: list[str]) -> tuple[tuple[str, Path], ...]:
    found = []
    for source in find_sources(words, ()):
        if not isinstance(source, ImageSource) or source.path is None:
            raise UsageError(
                "batch-input-passing",
                "A batch is gone on with later, so that it cannot read standard input.",
                hint="Write the image to a file first.",
            )
        found.append((source.name, source.path))
    return tuple(found)


def _tell(text: str) -> None:
    print(f"shimmy: {text}", file=sys.stderr)


def _said(tally: RowTally) -> str:
    done = tally.done + tally.failed
    return f"{done} rows were done and are kept; the same command goes on from there"


def _verdict(order: BatchOrder, tally: RowTally) -> int:
    told = {
        "output": str(order.output),
        "rows": tally.kept + tally.done + tally.failed,
        "kept": tally.kept,
        "done": tally.done,
        "failed": tally.failed,
        "errors": dict(sorted(tally.codes.items())),
    }
    print(json.dumps(told, ensure_ascii=False))
    return SOME_FAILED if tally.failed else OK
