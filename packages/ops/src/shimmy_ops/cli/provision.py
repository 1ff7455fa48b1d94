"""``shimmy-ops provision``: what is otherwise at Stripe and Keygen than the catalog says."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from shimmy_ops.cli.confirming import typed
from shimmy_ops.cli.exit_codes import DONE, PENDING
from shimmy_ops.cli.profile import add_profile
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.provisioning import plan_provision
from shimmy_ops.domain.steps import Found, Plan, Step
from shimmy_ops.domain.wanted import Desired
from shimmy_ops.errors import ProvisionError
from shimmy_ops.use_cases.apply_provision import Accounts, apply_provision
from shimmy_ops.use_cases.find_state import find_state
from shimmy_ops.use_cases.write_store_env import write_store_env
from shimmy_ops.wiring.accounts import (
    desired_state,
    environment_file,
    fresh_attempt,
    fresh_secret,
    open_accounts,
    read_profile,
)
from shimmy_ops.wiring.rotation import refuse_open_rotations

_SIGNS = {"create": "+", "change": "~", "retire": "-"}


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """Show (the default) or apply."""
    add_profile(command)
    what = command.add_mutually_exclusive_group()
    what.add_argument("--plan", action="store_true", help="show what is left to do (the default)")
    what.add_argument("--apply", action="store_true", help="do it; interrupted, run it again")
    command.add_argument("--yes", action="store_true", help="live: do not ask before applying")
    command.add_argument("--json", action="store_true", help="machine-readable, on stdout")
    command.add_argument(
        "--write-env", type=Path, metavar="FILE", help="write the store's environment (0600)"
    )


def run(args: argparse.Namespace) -> int:
    """0 when nothing is left to do, 3 when --plan found something."""
    profile = read_profile(args.config, args.profile)
    desired = desired_state(profile)
    if args.apply or args.write_env:
        base = args.config.resolve().parent
        refuse_open_rotations(profile, base, ("webhook-secret", "keygen-token"))
    with open_accounts(profile, args.config.resolve().parent) as accounts:
        found = find_state(desired, accounts.billing, accounts.licensing, accounts.safe)
        plan = plan_provision(desired, found)
        _show(profile, plan, as_json=args.json)
        if plan.steps and not args.apply:
            return PENDING
        if plan.steps:
            _confirm(profile, yes=args.yes)
            found = _apply(desired, accounts, as_json=args.json)
        _write_env(args.write_env, desired, found, accounts)
    return DONE


def _confirm(profile: Profile, *, yes: bool) -> None:
    """Raises ProvisionError unless somebody agrees to change what real customers use."""
    if not profile.livemode or yes:
        return
    if not typed("live", "This changes the LIVE accounts."):
        raise ProvisionError(
            "provision-not-confirmed", "Nothing was changed.", hint="--yes goes on without asking."
        )


def _apply(desired: Desired, accounts: Accounts, *, as_json: bool) -> Found:
    told: Callable[[Step], None] = _ignore if as_json else _tell
    found = apply_provision(desired, accounts, fresh_attempt(), told)
    print("done: everything is as the catalog says", file=sys.stderr)
    return found


def _tell(step: Step) -> None:
    print(f"done {_SIGNS[step.action]} {step.kind} {step.key}", file=sys.stderr)


def _ignore(_: Step) -> None:
    """Where the output is for a program."""


def _write_env(path: Path | None, desired: Desired, found: Found, accounts: Accounts) -> None:
    if path is None:
        return
    write_store_env(desired, found, accounts.safe, environment_file(path), fresh_secret)
    print(f"written: {path}", file=sys.stderr)


def _show(profile: Profile, plan: Plan, *, as_json: bool) -> None:
    if as_json:
        steps = [_document(step) for step in plan.steps]
        shown = {"profile": profile.name, "steps": steps, "notes": list(plan.notes)}
        print(json.dumps(shown, indent=2))
        return
    for line in _lines(plan.steps):
        print(line)
    for note in plan.notes:
        print(f"! {note}")
    count = len(plan.steps)
    print(f"{count} change{'s' if count > 1 else ''} pending" if count else "nothing to do")


def _lines(steps: Iterable[Step]) -> Iterable[str]:
    for step in steps:
        yield f"{_SIGNS[step.action]} {step.kind} {step.key}{f' ({step.id})' if step.id else ''}"
        if step.action == "create":
            for path, value in _flat(step.attributes):
                yield f"    {path}: {_written(value)}"
        for change in step.changes:
            yield f"    {change.path}: {_written(change.before)} -> {_written(change.after)}"


def _flat(attributes: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in attributes.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _document(step: Step) -> dict[str, Any]:
    changes = [
        {"path": one.path, "before": _plain(one.before), "after": _plain(one.after)}
        for one in step.changes
    ]
    return {
        "action": step.action,
        "kind": step.kind,
        "key": step.key,
        "id": step.id or None,
        "attributes": _plain(step.attributes) if step.action == "create" else {},
        "changes": changes,
    }


def _written(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """JSON's own kinds; a price that is yet to be made by its description."""
    return json.loads(json.dumps(value, default=str))
