"""``shimmy-sandbox mirror``: a model hub on loopback."""

from __future__ import annotations

import argparse
from pathlib import Path

from shimmy_sandbox.model_mirror import Faults, serve_models


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options: the folder and the faults."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0, help="default: any free port")
    parser.add_argument("--cut-after", type=int, help="close the connection after N bytes")
    parser.add_argument("--corrupt-at", type=int, help="flip the byte at this offset")
    parser.add_argument("--lie-about-length", type=int, default=0, help="add N to Content-Length")
    parser.add_argument("--status", type=int, help="answer with this status")
    parser.add_argument("--times", type=int, default=1, help="replies the above spoil (default 1)")
    parser.add_argument("--retry-after", default="", help="seconds to name with --status")
    parser.add_argument("--ignore-range", action="store_true", help="always send the whole file")
    parser.add_argument("--change-tag", action="store_true", help="a new ETag for every reply")
    parser.add_argument("--web-page", action="store_true", help="a sign-in page for every request")
    parser.add_argument("--redirect-to", default="", metavar="URL", help="answer 302 to this base")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each chunk")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; prints the base address for SHIMMY_MODEL_BASE_URL."""
    faults = Faults(
        cut_after=args.cut_after,
        cut_times=args.times,
        corrupt_at=args.corrupt_at,
        corrupt_times=args.times,
        lie_about_length=args.lie_about_length,
        lie_times=args.times,
        status=args.status,
        status_times=args.times,
        retry_after=args.retry_after,
        ignore_range=args.ignore_range,
        change_tag=args.change_tag,
        web_page=args.web_page,
        redirect_to=args.redirect_to,
        delay=args.delay,
    )
    with serve_models(args.folder, faults, args.port) as mirror:
        print(mirror.url, flush=True)
        try:
            mirror.wait()
        except KeyboardInterrupt:
            return 0
    return 0
