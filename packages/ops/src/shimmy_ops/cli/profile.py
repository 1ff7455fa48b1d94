"""``shimmy-ops profile show``: what a profile is set to, and where each secret comes from."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from shimmy_ops.cli.exit_codes import DONE
from shimmy_ops.domain.credentials import mask
from shimmy_ops.domain.profile import PROFILES
from shimmy_ops.wiring.accounts import find_credentials, read_profile

CONFIG = Path("shimmy-ops.toml")


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """One action: show."""
    actions = command.add_subparsers(dest="action", required=True)
    show = actions.add_parser("show", help="print it")
    add_profile(show)
    show.add_argument("--json", action="store_true", help="machine-readable")


def add_profile(command: argparse.ArgumentParser) -> None:
    """Which profile of which file."""
    command.add_argument("--profile", choices=PROFILES, required=True)
    command.add_argument(
        "--config", type=Path, default=CONFIG, metavar="FILE", help=f"default: {CONFIG}"
    )


def run(args: argparse.Namespace) -> int:
    """0; no secret is printed."""
    profile = read_profile(args.config, args.profile)
    settings = {
        name: value for name, value in asdict(profile).items() if value not in ("", None, ())
    }
    secrets = {
        name: None if found is None else {"from": found.origin, "value": mask(found.value)}
        for name, found in find_credentials(profile).items()
    }
    if args.json:
        print(json.dumps({"settings": settings, "secrets": secrets}, indent=2))
        return DONE
    for name, value in settings.items():
        print(f"{name:20}{json.dumps(value) if isinstance(value, bool) else value}")
    for name, shown in secrets.items():
        told = f"{shown['value']} from {shown['from']}" if shown else "not given"
        print(f"{name:20}{told}")
    return DONE
