"""``shimmy-ops``: one function a command."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shimmy_ops import __version__
from shimmy_ops.domain.lock_files import check_lock_text


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="shimmy-ops", description="The operator's tools.")
    parser.add_argument("--version", action="version", version=f"shimmy-ops {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    locks = commands.add_parser("locks", help="check that lock files are complete and name no host")
    locks.add_argument("folder", type=Path, nargs="?", default=Path("requirements"))
    return check_locks(parser.parse_args(argv).folder)


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
