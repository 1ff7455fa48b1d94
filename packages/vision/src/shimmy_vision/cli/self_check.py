"""``shimmy self-check``: is this program as it was built, and can it run here?"""

from __future__ import annotations

import argparse
import json

from shimmy_vision.cli.doctor import print_findings
from shimmy_vision.cli.exit_codes import MODEL_OR_LIBRARY, OK


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    """Print every finding; exit 3 where something is not as it was built, or cannot be used."""
    from shimmy_vision.settings import read_settings
    from shimmy_vision.wiring import upkeep

    findings = upkeep.check_self(read_settings())
    if args.json:
        print(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        print_findings(findings)
    return OK if all(finding.level != "problem" for finding in findings) else MODEL_OR_LIBRARY
