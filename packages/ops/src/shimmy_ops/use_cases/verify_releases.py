"""Every record follows from the one before, and every byte of every object is as it was."""

from __future__ import annotations

from shimmy_ops.ports.releases import Shelf


def verify_releases(shelf: Shelf) -> list[str]:
    """What is wrong; empty where nothing is. Raises KeepingError."""
    history = shelf.history()
    problems = list(history.problems)
    needed = {digest for one in history.releases for digest in one.parts.values()}
    there = shelf.objects()
    problems += [f"object {digest[:12]} is gone" for digest in sorted(needed - there)]
    for digest in sorted(there):
        problems += shelf.damage(digest)
    return problems
