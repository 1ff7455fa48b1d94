"""``shimmy-store``: one function a command."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from shimmy_store import __version__, wiring
from shimmy_store.domain.catalog import Plan
from shimmy_store.errors import StoreError


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="shimmy-store", description="The store.")
    parser.add_argument("--version", action="version", version=f"shimmy-store {__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    plans = commands.add_parser("plans", help="print the plans on sale")
    plans.add_argument("--json", action="store_true", help="machine-readable")
    try:
        return show_plans(as_json=parser.parse_args(argv).json)
    except StoreError as error:
        print(f"shimmy-store: {error.message} [{error.code}]", file=sys.stderr)
        return 1


def show_plans(*, as_json: bool) -> int:
    """Print the catalog."""
    plans = wiring.catalog().plans
    if as_json:
        print(json.dumps([asdict(plan) for plan in plans], indent=2))
        return 0
    for plan in plans:
        print(_row(plan))
    return 0


def _row(plan: Plan) -> str:
    price = f"${plan.unit_amount / 100:,.0f}{'/month' if plan.interval == 'month' else ' once'}"
    pages = "unlimited" if plan.pages_per_month is None else f"{plan.pages_per_month:,}"
    machines = "unlimited" if plan.machines is None else str(plan.machines)
    return f"{plan.name:<13}{price:>12}  {pages:>9} pages  {machines:>9} machines"
