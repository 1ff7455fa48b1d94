"""``shimmy-store plans``."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from shimmy_store import wiring
from shimmy_store.domain.catalog import Plan


def add_arguments(_name: str, parser: argparse.ArgumentParser) -> None:
    """``--json``."""
    parser.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    """Print the catalog."""
    plans = wiring.catalog().plans
    if args.json:
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
