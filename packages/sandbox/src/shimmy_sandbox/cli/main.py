"""``shimmy-sandbox``: one module a command, imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys

from shimmy_sandbox import __version__

COMMANDS = {
    "synthetic-model": ("shimmy_sandbox.cli.synthetic_model", "write a random-weight model pair"),
    "licences": ("shimmy_sandbox.cli.licences", "serve a licence server, sell, suspend, break it"),
    "stripe": ("shimmy_sandbox.cli.stripe", "serve Stripe's API and pages, pay, let time pass"),
    "mail": ("shimmy_sandbox.cli.mail", "serve a mailbox for SMTP and a mail API, read it"),
    "town": ("shimmy_sandbox.cli.town", "serve Stripe, licences and mail together for a store"),
    "buy": ("shimmy_sandbox.cli.buy", "buy a plan at a store that runs against the town"),
    "pay": ("shimmy_sandbox.cli.pay", "pay one page that a store led to"),
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
    given = sys.argv[1:] if argv is None else argv
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in given:
            importlib.import_module(module).add_arguments(command)
    args = parser.parse_args(given)
    print("shimmy-sandbox: not for production", file=sys.stderr)
    return int(importlib.import_module(COMMANDS[args.command][0]).run(args))
