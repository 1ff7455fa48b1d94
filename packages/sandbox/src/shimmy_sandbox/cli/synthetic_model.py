"""``shimmy-sandbox synthetic-model``: a pair with random weights."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from shimmy_sandbox.synthetic_model import write_synthetic_pair


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=("2.6", "4.6"), default="4.6")
    parser.add_argument("--seed", type=int, default=0)


def run(args: argparse.Namespace) -> int:
    """Write the pair and print both paths as JSON."""
    pair = write_synthetic_pair(args.folder, args.layout, seed=args.seed)
    print(json.dumps({"main": str(pair.main), "projector": str(pair.projector)}))
    return 0
