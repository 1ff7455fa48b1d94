"""``shimmy engine-worker``: the process that analyses for another one of this program."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

from shimmy_vision.cli.arguments import gpu_layers, positive_integer
from shimmy_vision.cli.exit_codes import OK

if TYPE_CHECKING:
    from shimmy_vision.ports.vision_order import VisionOrder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the parent passes on; licence and machine are in the environment."""
    add = parser.add_argument
    add("--model")
    add("--threads", type=int, default=0)
    add("--gpu-layers", type=gpu_layers, default=-1)
    add("--max-image-bytes", type=int, default=50_000_000)
    add("--max-document-bytes", type=int, default=200_000_000)
    add("--max-dim", type=int, default=30_000)
    add("--max-tokens", type=int, help="the longest answer that any request may ask for")
    add("--parallel", type=positive_integer, default=1, help="answers written at once")
    add("--idle-seconds", type=float, help="when an unused model leaves memory; default: never")
    add("--encodings-bytes", type=int, default=0)
    add("--states-bytes", type=int, default=0)
    add("--results-bytes", type=int, default=0)
    add("--verify", action="store_true")


def run(args: argparse.Namespace) -> int:
    """Do jobs from standard input until it ends."""
    from shimmy_vision.settings import read_settings
    from shimmy_vision.wiring.vision import serve_engine

    # Ctrl-C in a terminal and a service's end reach the whole group; the parent decides what they
    # mean. Handled rather than ignored: what is started from here would ignore its end too.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    # What native code prints must not get between the frames.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve_engine(read_settings(), read_order(args), sys.stdin.buffer, out)
    return OK


def read_order(args: argparse.Namespace) -> VisionOrder:
    """The order that the parent was given, but for its licence."""
    from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, AnswerLimits
    from shimmy_vision.ports.cache_limits import CacheLimits
    from shimmy_vision.ports.vision_order import VisionOrder

    return VisionOrder(
        model=args.model,
        threads=args.threads,
        gpu_layers=args.gpu_layers,
        max_image_bytes=args.max_image_bytes,
        max_dimension=args.max_dim,
        # The context has room for the longest answer of all.
        request=AnalysisRequest(limits=AnswerLimits(args.max_tokens)),
        verify=args.verify,
        max_document_bytes=args.max_document_bytes,
        caches=CacheLimits(args.encodings_bytes, args.states_bytes, args.results_bytes),
        sequences=args.parallel,
        idle_seconds=args.idle_seconds,
    )
