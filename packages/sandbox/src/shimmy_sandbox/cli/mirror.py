"""``shimmy-sandbox mirror``: a model hub on loopback."""

from __future__ import annotations

import argparse
from pathlib import Path

from shimmy_sandbox.model_mirror import Faults, serve_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options: the folder and the faults."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--cut-after", type=int, help="close the connection after N bytes, once")
    parser.add_argument("--corrupt-at", type=int, help="flip the byte at this offset, once")
    parser.add_argument("--lie-about-length", type=int, default=0, help="add N to Content-Length")
    parser.add_argument("--status", type=int, help="answer with this status, once")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each chunk")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; prints the base address for SHIMMY_MODEL_BASE_URL."""
    faults = Faults(
        cut_after=args.cut_after,
        corrupt_at=args.corrupt_at,
        lie_about_length=args.lie_about_length,
        status=args.status,
        delay=args.delay,
    )
    with serve_models(args.folder, faults, args.port) as mirror:
        print(mirror.url, flush=True)
        try:
            mirror.wait()
        except KeyboardInterrupt:
            return 0
    return 0
