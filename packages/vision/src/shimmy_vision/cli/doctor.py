"""``shimmy doctor``: what is installed, what this machine can do, what to do next."""

from __future__ import annotations

import argparse
import json

from shimmy_vision.cli.exit_codes import MODEL_OR_LIBRARY, OK
from shimmy_vision.domain.diagnosis import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    """Print every finding; exit 3 if an analysis could not run."""
    from shimmy_vision.settings import read_settings
    from shimmy_vision.wiring.models import diagnose

    findings = diagnose(read_settings())
    if args.json:
        print(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        print_findings(findings)
    return OK if all(finding.level != "problem" for finding in findings) else MODEL_OR_LIBRARY


_MARKS = {"ok": "✓", "note": "·", "problem": "✗"}


def print_findings(findings: tuple[Finding, ...]) -> None:
    """A line each, and what to do about it."""
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{_MARKS[finding.level]} {finding.subject:<{width}}  {finding.found}")
        if finding.remedy:
            print(f"  {'':<{width}}  → {finding.remedy}")
