"""What a deploy would change: names of settings and numbers of files, no value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from shimmy_ops.domain.releases.trees import Entry


def compare_values(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[str]:
    """One line a name that is new, gone, or has another value."""
    for name in sorted({*before, *after}):
        if name not in before:
            yield f"+ {name}"
        elif name not in after:
            yield f"- {name}"
        elif before[name] != after[name]:
            yield f"~ {name}"


def compare_files(before: Iterable[Entry], after: Iterable[Entry]) -> str:
    """How many are new, changed, gone and the same."""
    old = {one.path: one.sha256 for one in before}
    new = {one.path: one.sha256 for one in after}
    both = old.keys() & new.keys()
    changed = sum(old[path] != new[path] for path in both)
    return (
        f"{len(new.keys() - old.keys())} new, {changed} changed, "
        f"{len(old.keys() - new.keys())} gone, {len(both) - changed} the same"
    )
