"""``shimmy-ops audit``: known holes in what the lock files pin."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path, PurePath

from shimmy_ops.cli.exit_codes import DONE, LATER, REFUSED, SET_UP
from shimmy_ops.domain.judging.holes import Hole
from shimmy_ops.use_cases.audit_locks import Audit, audit_locks
from shimmy_ops.wiring.judging import hole_allowances, hole_feed, judging_day

_LOCKS, _ALLOWED = Path("requirements"), Path("audit-allow.toml")


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """Which locks, who is asked, and what may stay."""
    command.add_argument(
        "locks", type=Path, nargs="*", metavar="LOCK", help=f"default: {_LOCKS}/*.lock"
    )
    command.add_argument(
        "--allow-unreachable", action="store_true",
        help="0 where the service cannot be asked, which is said all the same",
    )  # fmt: skip
    command.add_argument("--allow-list", type=Path, help=f"default: {_ALLOWED}, if there is one")
    command.add_argument("--osv-url", default="", metavar="URL", help="ask this OSV service")
    command.add_argument("--json", action="store_true", help="one JSON document")


def run(args: argparse.Namespace) -> int:
    """0 none, 1 holes or packages that nobody knows, 75 where the service was not reached."""
    locks = args.locks or sorted(_LOCKS.glob("*.lock"))
    if not locks:
        print(f"shimmy-ops: {_LOCKS} holds no *.lock file", file=sys.stderr)
        return SET_UP
    allowances = hole_allowances(args.allow_list or _ALLOWED, needed=args.allow_list is not None)
    feed = hole_feed(args.osv_url)
    audit = audit_locks([PurePath(one) for one in locks], feed, allowances, judging_day())
    print(_as_json(audit) if args.json else _as_text(audit))
    if audit.judged.holes or any(one.unknown for one in audit.audits):
        return REFUSED
    if not audit.reached:
        return DONE if args.allow_unreachable else LATER
    return DONE


def _as_text(audit: Audit) -> str:
    lines = []
    for hole in audit.judged.holes:
        fixed = f"fixed in {', '.join(hole.fixed_in)}" if hole.fixed_in else "no fix is known"
        lines.append(f"{hole.lock}: {hole.package} {hole.version}: {_ids(hole)}: {fixed}")
    for one in audit.audits:
        lines += [f"{one.lock}: {name}: the service has never heard of it" for name in one.unknown]
    lines += [f"allow-list: {one}" for one in audit.judged.warnings]
    for one in audit.audits:
        if not one.reached:
            lines.append(f"{one.lock}: unreachable: {one.why}")
    asked = sum(one.asked for one in audit.audits)
    if not audit.reached:
        lines.append("unreachable: whether there are known holes is not known")
    else:
        counted = f"{len(audit.judged.holes)} known holes" if lines else "no known holes"
        allowed = len(audit.judged.allowed)
        lines.append(f"{counted} in {asked} packages, {allowed} allowed")
    return "\n".join(lines)


def _ids(hole: Hole) -> str:
    return f"{hole.id} ({', '.join(hole.aliases)})" if hole.aliases else hole.id


def _as_json(audit: Audit) -> str:
    holes = [
        {
            "lock": one.lock,
            "package": one.package,
            "version": one.version,
            "id": one.id,
            "aliases": one.aliases,
            "fixed_in": one.fixed_in,
            "allowed": one in audit.judged.allowed,
        }
        for one in (*audit.judged.holes, *audit.judged.allowed)
    ]
    locks = [
        {"lock": one.lock, "reached": one.reached, "packages": one.asked, "unknown": one.unknown}
        for one in audit.audits
    ]
    told = {"reached": audit.reached, "locks": locks, "holes": holes}
    return json.dumps({**told, "warnings": audit.judged.warnings}, indent=2)
