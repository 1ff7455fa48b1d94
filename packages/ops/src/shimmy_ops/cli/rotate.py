"""``shimmy-ops rotate``: replace a secret in steps, while the store goes on selling."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from shimmy_ops.cli.confirming import typed
from shimmy_ops.cli.exit_codes import DONE, PENDING
from shimmy_ops.cli.profile import add_profile
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.rotation.sequence import KINDS, STEPS, TITLES
from shimmy_ops.domain.rotation.state import Rotation
from shimmy_ops.errors import RotationError
from shimmy_ops.use_cases.rotate_secret import rotate_secret
from shimmy_ops.wiring.accounts import read_profile
from shimmy_ops.wiring.rotation import Asked, open_hands, rotations

_PATIENCE_SECONDS = 60.0


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """Which secret, or how far each is."""
    command.add_argument("secret", choices=(*KINDS, "status"))
    add_profile(command)
    command.add_argument(
        "--env", type=Path, metavar="FILE", help="the store's environment; default: config_current"
    )
    command.add_argument(
        "--done-by", default="", metavar="NAME", help="who says that what is waited for was done"
    )
    command.add_argument(
        "--at-once", action="store_true", help="do not wait for what the old store-secret signed"
    )
    command.add_argument("--yes", action="store_true", help="live: do not ask")
    command.add_argument("--json", action="store_true", help="status: machine-readable")
    command.add_argument(
        "--patience", type=float, default=_PATIENCE_SECONDS, metavar="SECONDS",
        help=f"until the store must answer after a start; default {_PATIENCE_SECONDS:.0f}",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """0 done; 1 refused, or the store was not well; 3 something is waited for; 75 try again."""
    profile = read_profile(args.config, args.profile)
    base = args.config.resolve().parent
    if args.secret == "status":  # noqa: S105 - a word, no secret
        return _status(rotations(profile, base), as_json=args.json)
    _agree(profile, args)
    asked = Asked(args.env, args.patience, args.done_by, args.at_once)
    opened = open_hands(profile, base, args.secret, asked, _tell)
    with opened as (desired, hands), hands.yard.shelf.hold():
        waiting = rotate_secret(args.secret, desired, hands)
    if waiting is not None:
        _tell(f"waiting: {waiting.said}")
        return PENDING
    _tell(f"the {args.secret} is replaced")
    return DONE


def _status(found: tuple[Rotation, ...], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps([_document(one) for one in found], indent=2))
    elif not found:
        print("nothing was replaced yet")
    for one in () if as_json else found:
        over = "replaced" if one.next_step is None else "being replaced"
        print(f"{one.kind}: {over}, begun {one.began[:19]}Z")
        for step in one.done:
            print(f"  + {step.at[:19]}Z {TITLES[step.step]}: {step.said}")
        for left in STEPS[one.kind][len(one.done) :]:
            print(f"    {'next: ' if left == one.next_step else ''}{TITLES[left]}")
    return PENDING if any(one.next_step for one in found) else DONE


def _document(rotation: Rotation) -> dict[str, object]:
    return {
        "secret": rotation.kind,
        "began": rotation.began,
        "done": [{"step": one.step, "at": one.at, "said": one.said} for one in rotation.done],
        "next": rotation.next_step,
    }


def _agree(profile: Profile, args: argparse.Namespace) -> None:
    """Raises RotationError unless somebody agrees to change what real customers use."""
    if not profile.livemode or args.yes:
        return
    if not typed("live", f"This replaces the LIVE store's {args.secret}."):
        raise RotationError(
            "rotation-not-confirmed", "Nothing was changed.", hint="--yes goes on without asking."
        )


def _tell(said: str) -> None:
    print(said, file=sys.stderr)
