"""The ``LaunchWitness`` port: versions of what runs, and the revision of the sources."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

from shimmy_ops import __version__
from shimmy_ops.adapters.scanning.git_commands import GitCommands
from shimmy_ops.errors import ScanError


class SourceWitness:
    """Of the repository that ``root`` is in, if it is in one."""

    def __init__(self, root: Path, git: GitCommands) -> None:
        self._root, self._git = root, git

    def versions(self) -> Mapping[str, str]:
        return {
            "shimmy-ops": __version__,
            "python": platform.python_version(),
            "revision": self._revision(),
        }

    def _revision(self) -> str:
        try:
            revision = self._git.ask(self._root, "rev-parse", "HEAD").decode().strip()
            changed = self._git.ask(self._root, "status", "--porcelain", "--untracked-files=no")
        except ScanError:
            return "none"
        return f"{revision}{' (changed)' if changed.strip() else ''}"
