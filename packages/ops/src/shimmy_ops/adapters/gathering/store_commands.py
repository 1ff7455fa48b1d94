"""``shimmy-store`` as a command: it checks the site that it built."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from shimmy_ops.domain.preflight.facts import CommandSaid
from shimmy_ops.errors import DeskError

_PATIENCE_SECONDS = 100
_CLEAN, _FOUND = 0, 1
_NAME = "shimmy-store"


def check_site(folder: Path, mode: str) -> CommandSaid:
    """What ``site check`` finds. Raises DeskError where it cannot be run."""
    command = [_find(), "site", "check", str(folder), "--mode", mode, "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_PATIENCE_SECONDS, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeskError(
            "store-command-failed", f"{_NAME} site check did not end: {type(error).__name__}."
        ) from error
    if done.returncode == _CLEAN:
        return CommandSaid(0)
    try:
        found = json.loads(done.stdout) if done.returncode == _FOUND else []
        return CommandSaid(len(found), str(found[0]["code"]))
    except (ValueError, LookupError, TypeError) as error:
        raise DeskError(
            "store-command-refused",
            f"{_NAME} site check ended with {done.returncode}.",
            hint=f"{_NAME} site check FOLDER --mode {mode} says why.",
        ) from error


def _find() -> str:
    """On the way, or beside this program."""
    beside = Path(sys.executable).parent / _NAME
    found = shutil.which(_NAME) or (str(beside) if beside.is_file() else "")
    if not found:
        raise DeskError(
            "store-command-missing",
            f"{_NAME} is not installed here.",
            hint="pip install shimmy-store, on the machine that checks.",
        )
    return found
