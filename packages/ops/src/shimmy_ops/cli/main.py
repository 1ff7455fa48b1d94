"""``shimmy-ops``: one module a command, imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from shimmy_ops import __version__
from shimmy_ops.cli.exit_codes import INTERRUPTED, REFUSED, exit_code
from shimmy_ops.domain.lock_files import check_lock_text
from shimmy_ops.errors import OpsError

COMMANDS = {
    "profile": ("shimmy_ops.cli.profile", "show what a profile is set to, secrets masked"),
    "provision": (
        "shimmy_ops.cli.provision",
        "bring Stripe and Keygen to what the catalog says, or show what is otherwise",
    ),
    "preflight": (
        "shimmy_ops.cli.preflight",
        "check that everything is set up, and say what is not",
    ),
    "live-transaction": (
        "shimmy_ops.cli.live_transaction",
        "buy the lowest plan, use it, pay it back, and see that nothing is left",
    ),
    "launch": ("shimmy_ops.cli.launch", "the launch plan: its phases in order, each verified"),
    "monitor": ("shimmy_ops.cli.monitor", "how the store does: figures, alerts, dashboard"),
    "backup": ("shimmy_ops.cli.backup", "keep what the store, Stripe and Keygen know"),
    "restore": ("shimmy_ops.cli.backup", "bring a kept ledger back into an empty store"),
    "release": ("shimmy_ops.cli.release", "record a release and put it in place"),
    "rollback": ("shimmy_ops.cli.release", "put the release before this one in place again"),
    "deploy": ("shimmy_ops.cli.deploy", "check, release, check again; taken back where it fails"),
    "rotate": ("shimmy_ops.cli.rotate", "replace a secret while the store goes on selling"),
    "support": ("shimmy_ops.cli.support", "find a customer by masked key, address or session"),
    "export-customer": ("shimmy_ops.cli.support", "all that is kept of one customer, as JSON"),
    "erase-customer": ("shimmy_ops.cli.support", "forget one customer everywhere it may be"),
    "licences": ("shimmy_ops.cli.licence_inventory", "licences of everything that is shipped"),
    "audit": ("shimmy_ops.cli.audit", "known holes in what the lock files pin"),
    "tests-report": ("shimmy_ops.cli.tests_report", "did every test of this revision pass?"),
    "secrets-scan": (
        "shimmy_ops.cli.secrets_scan",
        "find keys and passwords in files, wheels, archives, binaries and history",
    ),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="shimmy-ops", description="The operator's tools.")
    parser.add_argument("--version", action="version", version=f"shimmy-ops {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    locks = commands.add_parser("locks", help="check that lock files are complete and name no host")
    locks.add_argument("folder", type=Path, nargs="?", default=Path("requirements"))
    given = sys.argv[1:] if argv is None else argv
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in given:
            importlib.import_module(module).add_arguments(name, command)
    args = parser.parse_args(given)
    if args.command == "locks":
        return check_locks(args.folder)
    try:
        code = int(importlib.import_module(COMMANDS[args.command][0]).run(args))
        sys.stdout.flush()
        return code
    except OpsError as error:
        print(f"shimmy-ops: {error.message} [{error.code}]", file=sys.stderr)
        if error.hint:
            print(f"shimmy-ops: {error.hint}", file=sys.stderr)
        return exit_code(error)
    except BrokenPipeError:
        # Whoever reads has read enough (`| head`); Python would complain again at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return REFUSED
    except KeyboardInterrupt:
        print("shimmy-ops: stopped; the next run goes on where this one was.", file=sys.stderr)
        return INTERRUPTED


def check_locks(folder: Path) -> int:
    """Print every finding in ``folder``'s *.lock files; 1 if there is one, 64 if no lock."""
    paths = sorted(folder.glob("*.lock"))
    if not paths:
        print(f"shimmy-ops: {folder} holds no *.lock file", file=sys.stderr)
        return 64
    findings = [f for path in paths for f in check_lock_text(path.name, path.read_text())]
    for finding in findings:
        print(f"{finding.file}:{finding.line}: {finding.problem}")
    if not findings:
        print(f"{len(paths)} lock files: every requirement pinned and hashed, no host named")
    return 1 if findings else 0
