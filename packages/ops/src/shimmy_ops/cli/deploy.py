"""``shimmy-ops deploy``: check, record, put in place, check again; taken back where it fails."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path, PurePath

from shimmy_ops.cli.confirming import typed
from shimmy_ops.cli.exit_codes import DONE
from shimmy_ops.cli.profile import add_profile
from shimmy_ops.domain.deploying.checks import TARGETS
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.releases.choosing import Named
from shimmy_ops.domain.releases.records import VERSION, Part
from shimmy_ops.errors import DeployError
from shimmy_ops.use_cases.deploy_release import DeployOrder, deploy_release
from shimmy_ops.use_cases.plan_deploy import plan_deploy
from shimmy_ops.wiring.accounts import read_profile
from shimmy_ops.wiring.deploying import deploy_log, open_dock
from shimmy_ops.wiring.releases import this_revision

_PATIENCE_SECONDS = 60.0


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """Where to, what, and how carefully."""
    add_profile(command)
    command.add_argument("--to", choices=TARGETS, required=True, help="where the store runs")
    command.add_argument("--version", required=True, help="what it is called; never used twice")
    command.add_argument("--site", type=Path, metavar="FOLDER", help="the built site")
    command.add_argument("--env", type=Path, metavar="FILE", help="the store's environment file")
    command.add_argument("--worker", type=Path, metavar="FOLDER",
                         help="the Worker's bundle; default: build/worker")  # fmt: skip
    command.add_argument("--revision", help="default: what git has checked out here")
    command.add_argument("--store-version", default="", help="what the store's /health must say")
    command.add_argument(
        "--skip-preflight-check", action="append", default=[], metavar="ID,…",
        help="without these checks, before and after",
    )  # fmt: skip
    command.add_argument(
        "--dry-run", action="store_true", help="say every step and change, and do nothing"
    )
    command.add_argument("--yes", action="store_true", help="live: do not ask")
    command.add_argument(
        "--patience", type=float, default=_PATIENCE_SECONDS, metavar="SECONDS",
        help=f"until all must answer after a switch; default {_PATIENCE_SECONDS:.0f}",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """0 it is in place and everything holds; 1 refused or taken back; 75 another one is at it."""
    profile = read_profile(args.config, args.profile)
    order = _order(args, profile)
    dock = open_dock(
        profile, args.config, order.named.version, order.environment, _tell, args.patience
    )
    with dock as opened:
        if args.dry_run:
            for line in plan_deploy(order, opened):
                print(line)
            return DONE
        log = deploy_log(profile, args.config.parent, order.named.version)
        _tell(f"what commands say: {log}")
        with opened.yard.shelf.hold():
            release = deploy_release(order, opened, lambda: _agree(profile, args))
    _tell(f"release {release.number} ({release.version}) is deployed, and everything holds")
    return DONE


def _order(args: argparse.Namespace, profile: Profile) -> DeployOrder:
    if not re.fullmatch(VERSION, args.version) or args.version.isdigit():
        raise DeployError(
            "deploy-version-malformed",
            "A version is letters, digits, dots, plus, dashes, and no bare number.",
        )
    site, base = args.site, args.config.resolve().parent
    if args.to == "static" and site is None and profile.site_folder:
        site = base / profile.site_folder
    worker = args.worker or Path("build/worker") if args.to == "worker" else None
    given: tuple[tuple[Part, Path | None], ...] = (("site", site), ("worker", worker))
    folders = {part: PurePath(folder) for part, folder in given if folder is not None}
    if args.to == "static" and "site" not in folders:
        raise DeployError(
            "deploy-site-unnamed",
            "Which site?",
            hint="--site FOLDER, or site_folder in the profile.",
        )
    named = Named(args.version, args.revision or this_revision(), args.store_version)
    skip = [one.strip() for given in args.skip_preflight_check for one in given.split(",")]
    environment = None if args.env is None else _read(args.env)
    return DeployOrder(args.to, named, folders, environment, [one for one in skip if one])


def _agree(profile: Profile, args: argparse.Namespace) -> None:
    """Raises DeployError unless somebody agrees to change what real customers use."""
    if not profile.livemode or args.yes:
        return
    if not typed("live", f"This deploys {args.version} for customers."):
        raise DeployError(
            "deploy-not-confirmed", "Nothing was changed.", hint="--yes goes on without asking."
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DeployError(
            "deploy-environment-unusable", f"{path} cannot be read: {type(error).__name__}."
        ) from error


def _tell(said: str) -> None:
    print(said, file=sys.stderr)
