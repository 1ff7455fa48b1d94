"""``shimmy-ops licences``: on which terms everything is used that is installed to run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from shimmy_ops.cli.exit_codes import DONE, REFUSED
from shimmy_ops.domain.judging.inventory import Terms, take_inventory, unused_rules
from shimmy_ops.wiring.judging import (
    installed_packages,
    licence_rules,
    pinned_packages,
    write_texts,
)

_LOCKS = (Path("requirements/runtime.lock"), Path("requirements/native.lock"))
_ALLOWED = Path("licences-allow.toml")


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """Which locks, and what becomes of the inventory."""
    command.add_argument(
        "locks", type=Path, nargs="*", metavar="LOCK",
        help=f"default: {' and '.join(str(one) for one in _LOCKS)}",
    )  # fmt: skip
    command.add_argument("--allow-list", type=Path, default=_ALLOWED, help=f"default: {_ALLOWED}")
    command.add_argument("--check", action="store_true", help="1 where something stands in the way")
    command.add_argument("--out", type=Path, metavar="FILE", help="write all licence texts there")
    command.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """0; with --check 1 for what is unknown or not accepted."""
    rules = licence_rules(args.allow_list)
    pinned = [one for lock in args.locks or _LOCKS for one in pinned_packages(lock)]
    installed = installed_packages([one.name for one in pinned])
    terms = take_inventory(pinned, installed, rules)
    unused, elsewhere = unused_rules(terms, rules), [one for one in pinned if not one.wanted]
    if args.out is not None:
        write_texts(args.out, _texts(terms))
    if args.json:
        print(json.dumps(_document(terms, unused, [one.name for one in elsewhere]), indent=2))
    else:
        _show(terms, unused, [one.name for one in elsewhere])
    failing = any(one.problems for one in terms)
    return REFUSED if args.check and failing else DONE


def _show(terms: Sequence[Terms], unused: Sequence[str], elsewhere: Sequence[str]) -> None:
    for one in terms:
        print(f"{_name(one):43} {one.licence or 'not known'}")
    for entry in unused:
        print(f"allow-list: {entry} is needed by nothing", file=sys.stderr)
    for name in elsewhere:
        print(f"{name}: other systems only; not looked at")
    failing = [one for one in terms if one.problems]
    for term in failing:
        name = ", ".join(one for one in (term.package, term.part) if one)
        print(f"! {name}: {'; '.join(term.problems)}")
    texts = sum(len(one.texts) for one in terms)
    packages, parts = (sum(bool(one.package) and bool(one.part) is within for one in terms)
                       for within in (False, True))  # fmt: skip
    said = f"{len(failing)} stand in the way" if failing else "all accepted"
    print(f"{packages} packages, {parts} parts of others in them, "
          f"{texts} licence texts: {said}")  # fmt: skip


def _name(one: Terms) -> str:
    if not one.part:
        return f"{one.package} {one.version}"
    return f"  in it: {one.part}" if one.package else f"comes with no release: {one.part}"


def _document(
    terms: Sequence[Terms], unused: Sequence[str], elsewhere: Sequence[str]
) -> dict[str, object]:
    listed = [
        {
            "package": one.package or None,
            "version": one.version or None,
            "part": one.part or None,
            "licence": one.licence or None,
            "because": one.because or None,
            "texts": sorted(one.texts),
            "problems": one.problems,
        }
        for one in terms
    ]
    return {"terms": listed, "unused": unused, "other systems only": elsewhere}


def _texts(terms: Sequence[Terms]) -> str:
    """Each text once, under everything that it is the licence of."""
    pieces = ["What Shimmy Vision is used with, and the licences of it.\n"]
    for one in terms:
        package = f"{one.package} {one.version}" if one.package else "comes with no release"
        name = f"{package}: {one.part}" if one.part else package
        pieces.append(f"{'=' * 78}\n{name}\n{one.licence or 'licence not known'}\n")
        for path, text in sorted(one.texts.items()):
            pieces.append(f"{'-' * 78}\n{path}\n\n{text.rstrip()}\n")
    return "\n".join(pieces)
