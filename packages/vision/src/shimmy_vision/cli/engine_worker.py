"""``shimmy engine-worker``: the process that analyses for another one of this program."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from shimmy_vision.cli.arguments import gpu_layers
from shimmy_vision.cli.exit_codes import OK
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, AnswerLimits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the parent passes on."""
    add = parser.add_argument
    add("--model")
    add("--threads", type=int, default=0)
    add("--gpu-layers", type=gpu_layers, default=-1)
    add("--max-image-bytes", type=int, default=50_000_000)
    add("--max-dim", type=int, default=30_000)
    add("--max-tokens", type=int, help="the longest answer that any request may ask for")


def run(args: argparse.Namespace) -> int:
    """Answer requests on standard input until it ends."""
    from shimmy_vision import wiring
    from shimmy_vision.settings import read_settings

    # Ctrl-C in a terminal reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What native code prints must not get between the frames.
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    order = wiring.VisionOrder(
        model=args.model,
        threads=args.threads,
        gpu_layers=args.gpu_layers,
        max_image_bytes=args.max_image_bytes,
        max_dimension=args.max_dim,
        # The context has room for the longest answer of all.
        request=AnalysisRequest(limits=AnswerLimits(args.max_tokens)),
    )
    wiring.serve_engine(read_settings(), order, sys.stdin.buffer, out)
    return OK
