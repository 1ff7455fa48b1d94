"""``shimmy-sandbox``: one module a command."""

from __future__ import annotations

import argparse
import importlib
import sys

from shimmy_sandbox import __version__

COMMANDS = {
    "synthetic-model": ("shimmy_sandbox.cli.synthetic_model", "write a random-weight model pair"),
    "mirror": ("shimmy_sandbox.cli.mirror", "serve a folder of models, with faults on request"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="shimmy-sandbox",
        description="Loopback stand-ins for tests and demos. Not for production.",
    )
    parser.add_argument("--version", action="version", version=f"shimmy-sandbox {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (module, summary) in COMMANDS.items():
        importlib.import_module(module).add_arguments(commands.add_parser(name, help=summary))
    args = parser.parse_args(argv)
    print("shimmy-sandbox: not for production", file=sys.stderr)
    return int(importlib.import_module(COMMANDS[args.command][0]).run(args))
