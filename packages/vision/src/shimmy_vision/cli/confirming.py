"""Asks before what cannot be undone."""

from __future__ import annotations

import sys

from shimmy_vision.errors import UsageError


def confirm(question: str, *, yes: bool) -> None:
    """Raises UsageError without a yes, typed or given as ``--yes``."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "confirmation-needed", f"{question} Nobody is here to answer.", hint="Add --yes."
        )
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not-confirmed", "Nothing was done.")
