"""Which revision lies in a folder, and whether it was changed since."""

from __future__ import annotations

from pathlib import Path

from shimmy_ops.adapters.scanning.git_commands import GitCommands
from shimmy_ops.errors import ScanError

CHANGED = "+changed"


def read_revision(folder: Path) -> str:
    """40 digits, and ``+changed`` where files differ or are new; empty where git has none."""
    git = GitCommands()
    try:
        revision = git.ask(folder, "rev-parse", "--verify", "HEAD").decode().strip()
        changed = git.ask(folder, "status", "--porcelain")
    except ScanError:
        return ""
    return f"{revision}{CHANGED if changed else ''}"
