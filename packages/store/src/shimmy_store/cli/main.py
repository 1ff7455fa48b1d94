"""``shimmy-store``: one module a command, imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import sys

from shimmy_store import __version__
from shimmy_store.errors import CatalogError, SettingsError, SiteError, StoreError

COMMANDS = {
    "plans": ("shimmy_store.cli.plans", "print the plans on sale"),
    "serve": ("shimmy_store.cli.serve", "serve the store's pages and webhook until Ctrl-C"),
    "sweep": ("shimmy_store.cli.work", "settle events and send mail once, without a server"),
    "reconcile": ("shimmy_store.cli.work", "look at customers whatever events were heard"),
    "retry": ("shimmy_store.cli.work", "try again what was given up"),
    "site": ("shimmy_store.cli.site", "build the static site, or check one before it goes out"),
    "alarms": ("shimmy_store.cli.work", "list what a person should look at, or tick it off"),
    "ledger": (
        "shimmy_store.cli.ledger",
        "dump the ledger, restore it, or check a dump",
    ),
}
# What to do about them differs: mend the set-up, or try again.
_EXIT = {"set-up": 2, "later": 75, "failed": 1}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1, 2 for the set-up, 75 to try again later."""
    parser = argparse.ArgumentParser(prog="shimmy-store", description="The store.")
    parser.add_argument("--version", action="version", version=f"shimmy-store {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    given = sys.argv[1:] if argv is None else argv
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in given:
            importlib.import_module(module).add_arguments(name, command)
    args = parser.parse_args(given)
    try:
        return int(importlib.import_module(COMMANDS[args.command][0]).run(args))
    except StoreError as error:
        print(f"shimmy-store: {error.message} [{error.code}]", file=sys.stderr)
        if error.hint:
            print(f"shimmy-store: {error.hint}", file=sys.stderr)
        return _exit_code(error)
    except KeyboardInterrupt:
        print("shimmy-store: stopped; what was begun is taken up again later.", file=sys.stderr)
        return 130


def _exit_code(error: StoreError) -> int:
    # A ledger of the other mode is one that the settings should not name.
    if (
        isinstance(error, SettingsError | CatalogError | SiteError)
        or error.code == "ledger-of-other-mode"
    ):
        return _EXIT["set-up"]
    return _EXIT["later" if error.retryable else "failed"]
