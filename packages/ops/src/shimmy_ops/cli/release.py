"""``shimmy-ops release`` and ``rollback``: what is in place, and what was before."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path, PurePath

from shimmy_ops.cli.confirming import typed
from shimmy_ops.cli.exit_codes import DONE, PENDING, REFUSED
from shimmy_ops.cli.profile import add_profile
from shimmy_ops.cli.release_words import show_history, show_rehearsal, show_release, show_status
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.releases.choosing import Named
from shimmy_ops.domain.releases.records import VERSION, Part, Release
from shimmy_ops.errors import ReleaseError
from shimmy_ops.ports.releases import Shelf
from shimmy_ops.use_cases.put_in_place import put_in_place
from shimmy_ops.use_cases.record_release import record_release
from shimmy_ops.use_cases.rehearse_rollback import rehearse_rollback
from shimmy_ops.use_cases.roll_back import roll_back
from shimmy_ops.use_cases.verify_releases import verify_releases
from shimmy_ops.wiring.accounts import read_profile
from shimmy_ops.wiring.releases import (
    open_scratch,
    open_shelf,
    open_yard,
    release_time,
    this_revision,
)

_PATIENCE_SECONDS = 60.0


def add_arguments(name: str, command: argparse.ArgumentParser) -> None:
    """Actions of `release`, or how to roll back."""
    if name == "rollback":
        _add_rollback(command)
        return
    actions = command.add_subparsers(dest="action", required=True)
    _add_record(actions.add_parser("record", help="keep a release, and put it in place"))
    activate = actions.add_parser("activate", help="put a recorded release in place")
    activate.add_argument("release", help="its number or version")
    resume = actions.add_parser("resume", help="end what was cut off")
    for one in (activate, resume):
        _add_placing(one)
    listed = actions.add_parser("list", help="all records")
    show = actions.add_parser("show", help="one record: the one in place, or the one named")
    show.add_argument("release", nargs="?", help="its number or version")
    status = actions.add_parser("status", help="what is in place, and what is half done")
    verify = actions.add_parser("verify", help="every record and every byte is as it was")
    for one in (listed, show, status, verify):
        add_profile(one)
    for one in (listed, show, status):
        one.add_argument("--json", action="store_true", help="machine-readable")


def _add_record(record: argparse.ArgumentParser) -> None:
    _add_placing(record)
    record.add_argument("--version", required=True, help="what it is called; never used twice")
    record.add_argument("--site", type=Path, metavar="FOLDER", help="the built site")
    record.add_argument("--env", type=Path, metavar="FILE", help="the store's environment file")
    record.add_argument("--worker", type=Path, metavar="FOLDER", help="the Worker's bundle")
    record.add_argument("--revision", help="default: what git has checked out here")
    record.add_argument("--store-version", default="", help="what the store's /health must say")
    record.add_argument("--activate", action="store_true", help="put it in place, too")


def _add_rollback(command: argparse.ArgumentParser) -> None:
    _add_placing(command)
    command.add_argument("--to", metavar="RELEASE", help="default: the good one before")
    command.add_argument("--force", action="store_true", help="whatever is doubted")
    command.add_argument(
        "--rehearse", action="store_true", help="in a folder of its own; touches nothing in use"
    )


def _add_placing(command: argparse.ArgumentParser) -> None:
    add_profile(command)
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.add_argument(
        "--patience", type=float, default=_PATIENCE_SECONDS, metavar="SECONDS",
        help=f"until all must answer after a switch; default {_PATIENCE_SECONDS:.0f}",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """0 done; 1 refused, or taken back; 3 something is half done; 75 another command is at it."""
    profile = read_profile(args.config, args.profile)
    shelf = open_shelf(profile, args.config.parent)
    if args.command == "rollback":
        return _rehearse(args, profile, shelf) if args.rehearse else _roll_back(args, profile)
    actions: dict[str, Callable[[], int]] = {
        "record": lambda: _record(args, profile),
        "activate": lambda: _activate(args, profile),
        "resume": lambda: _resume(args, profile),
        "list": lambda: show_history(shelf, as_json=args.json),
        "show": lambda: show_release(shelf, _wanted(args.release), as_json=args.json),
        "status": lambda: _status(args, profile, shelf),
        "verify": lambda: _verify(shelf),
    }
    return actions[args.action]()


def _record(args: argparse.Namespace, profile: Profile) -> int:
    named = Named(_version(args.version), args.revision or this_revision(), args.store_version)
    places: tuple[tuple[Part, Path | None], ...] = (("site", args.site), ("worker", args.worker))
    folders = {part: PurePath(given) for part, given in places if given is not None}
    environment = None if args.env is None else _read(args.env)
    with open_yard(profile, args.config.parent, _tell, args.patience) as yard, yard.shelf.hold():
        release = record_release(yard.shelf, named, folders, environment, release_time())
        _tell(f"release {release.number} is {release.version}")
        if args.activate:
            _agree(profile, args, f"release {release.number}, {release.version}")
            put_in_place(release, yard)
            _tell(f"release {release.number} is in place and answers")
    return DONE


def _activate(args: argparse.Namespace, profile: Profile) -> int:
    with open_yard(profile, args.config.parent, _tell, args.patience) as yard, yard.shelf.hold():
        history, state = yard.shelf.history(), yard.shelf.state()
        release = history.find(_wanted(args.release) or "")
        if state.active is not None and release.number < history.find(state.active).origin:
            raise ReleaseError(
                "release-older",
                f"Release {release.number} is older than the one in place.",
                hint=f"shimmy-ops rollback --to {release.number} puts it back.",
            )
        _agree(profile, args, f"release {release.number}, {release.version}")
        put_in_place(release, yard)
    _tell(f"release {release.number} is in place and answers")
    return DONE


def _resume(args: argparse.Namespace, profile: Profile) -> int:
    with open_yard(profile, args.config.parent, _tell, args.patience) as yard, yard.shelf.hold():
        journal = yard.shelf.state().journal
        if journal is None:
            _tell("nothing is half done")
            return DONE
        put_in_place(yard.shelf.history().find(journal.target), yard)
    _tell(f"release {journal.target} is in place and answers")
    return DONE


def _roll_back(args: argparse.Namespace, profile: Profile) -> int:
    def agree(target: Release) -> None:
        _agree(profile, args, f"release {target.number}, {target.version}, again")

    with open_yard(profile, args.config.parent, _tell, args.patience) as yard, yard.shelf.hold():
        release = roll_back(_wanted(args.to), yard, agree, force=args.force)
    _tell(f"release {release.origin} ({release.version}) is in place and answers")
    return DONE


def _rehearse(args: argparse.Namespace, profile: Profile, shelf: Shelf) -> int:
    releases = [one for one in shelf.history().releases if one.restores is None]
    if len(releases) < 2:
        raise ReleaseError(
            "nothing-to-rehearse",
            "A rehearsal needs two releases.",
            hint="shimmy-ops release record makes them.",
        )
    pair = (releases[-2], releases[-1])
    with open_scratch(profile, args.config.parent, pair, _ignore) as scratch:
        show_rehearsal(pair, rehearse_rollback(pair, scratch))
    return DONE


def _status(args: argparse.Namespace, profile: Profile, shelf: Shelf) -> int:
    with open_yard(profile, args.config.parent, _ignore, 0) as yard:
        unfinished = show_status(shelf, yard.places, as_json=args.json)
    return PENDING if unfinished else DONE


def _verify(shelf: Shelf) -> int:
    problems = verify_releases(shelf)
    for problem in problems:
        print(problem)
    if not problems:
        count = len(shelf.history().releases)
        print(f"{count} records and {len(shelf.objects())} objects are as they were")
    return REFUSED if problems else DONE


def _agree(profile: Profile, args: argparse.Namespace, what: str) -> None:
    """Raises ReleaseError unless somebody agrees to change what real customers use."""
    if not profile.livemode or args.yes:
        return
    if not typed("live", f"This puts {what}, in place for customers."):
        raise ReleaseError(
            "release-not-confirmed", "Nothing was changed.", hint="--yes goes on without asking."
        )


def _version(given: str) -> str:
    if not re.fullmatch(VERSION, given) or given.isdigit():
        raise ReleaseError(
            "release-version-malformed",
            "A version is letters, digits, dots, plus, dashes, and no bare number.",
        )
    return given


def _wanted(given: str | None) -> int | str | None:
    return int(given) if given is not None and given.isdecimal() and given.isascii() else given


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ReleaseError(
            "config-unusable", f"{path} cannot be read: {type(error).__name__}."
        ) from error


def _tell(said: str) -> None:
    print(said, file=sys.stderr)


def _ignore(_: str) -> None:
    """Where the output is something else."""
