"""``shimmy-ops support lookup``, ``export-customer``, ``erase-customer``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from shimmy_ops.cli.confirming import typed
from shimmy_ops.cli.customer_lines import customer_document, customer_lines
from shimmy_ops.cli.exit_codes import DONE
from shimmy_ops.cli.profile import add_profile
from shimmy_ops.domain.customers.erasing import (
    STAYS,
    EraseStep,
    PersonFound,
    billed,
    left_by_hand,
    plan_erasure,
)
from shimmy_ops.domain.customers.sought import (
    SoughtAddress,
    SoughtId,
    mask_address,
    parse_person,
    parse_sought,
)
from shimmy_ops.errors import CustomerError
from shimmy_ops.use_cases.erase_customer import EraseOrder, erase_customer
from shimmy_ops.use_cases.export_customer import export_customer
from shimmy_ops.use_cases.lookup_customer import lookup_customer
from shimmy_ops.wiring.accounts import fresh_secret, read_profile
from shimmy_ops.wiring.customers import erasure_records, new_document, open_sources, utc_now


def add_arguments(name: str, command: argparse.ArgumentParser) -> None:
    """Whom, and what of it."""
    if name == "support":
        actions = command.add_subparsers(dest="action", required=True)
        _add_lookup(actions.add_parser("lookup", help="find customers and say what to do"))
        return
    add_profile(command)
    command.add_argument("who", nargs="?", metavar="WHO", help="cus_… or an address")
    command.add_argument(
        "--email-stdin",
        action="store_true",
        help="read the address from standard input's first line",
    )
    if name == "export-customer":
        command.add_argument("--out", type=Path, required=True, metavar="FILE", help="a new file")
        return
    command.add_argument("--yes", action="store_true", help="do not ask for the customer's id")
    command.add_argument(
        "--end-subscriptions",
        action="store_true",
        help="also where something still runs that was paid for: ended at once, without a refund",
    )


def _add_lookup(lookup: argparse.ArgumentParser) -> None:
    add_profile(lookup)
    lookup.add_argument(
        "what",
        metavar="WHAT",
        help="address, masked key (1A2B3C-…-V3), cs_…, cus_…, sub_…, licence id; - reads it, or a "
        "whole key, from standard input",
    )
    lookup.add_argument("--heal", action="store_true", help="have the store settle them first")
    lookup.add_argument("--show-address", action="store_true", help="do not mask addresses")
    lookup.add_argument("--json", action="store_true", help="machine-readable")


def run(args: argparse.Namespace) -> int:
    """0 when it was done; 1 when nobody, or more than one, was found."""
    match args.command:
        case "support":
            return _lookup(args)
        case "export-customer":
            return _export(args)
        case _:
            return _erase(args)


def _lookup(args: argparse.Namespace) -> int:
    given = _first_line() if args.what == "-" else args.what
    sought = parse_sought(given, visible=args.what != "-")
    profile = read_profile(args.config, args.profile)
    with open_sources(profile, args.config.resolve().parent) as sources:
        found = lookup_customer(
            sought, sources, profile.store_url, utc_now(), heal=args.heal, told=_count
        )
    show = str if args.show_address else mask_address
    if args.json:
        listed = [customer_document(one, show) for one in found]
        print(json.dumps({"customers": listed}, indent=2, ensure_ascii=False))
        return DONE
    for one in found:
        for line in customer_lines(one, show):
            print(line)
    if len(found) > 1:
        print(f"{len(found)} customers fit: ask for more of the key, or for the address")
    return DONE


def _count(licences: int) -> None:
    print(f"{licences} licences read", file=sys.stderr)


def _person(args: argparse.Namespace) -> SoughtId | SoughtAddress:
    if args.email_stdin == bool(args.who):
        raise CustomerError(
            "person-not-given", "Give the customer's id or address, or --email-stdin: one of them."
        )
    return parse_person(args.who or _first_line())


def _first_line() -> str:
    try:
        return sys.stdin.readline()
    except UnicodeDecodeError:
        raise CustomerError(
            "input-not-text", "What came on standard input is no text in this terminal's encoding."
        ) from None


def _export(args: argparse.Namespace) -> int:
    person = _person(args)
    profile = read_profile(args.config, args.profile)
    with open_sources(profile, args.config.resolve().parent) as sources:
        out = new_document(args.out)
        document = export_customer(person, profile.name, sources, out, utc_now)
    for line in document["contents"]:
        print(f"{line['count']:6}  {line['section']}")
    print(f"written: {args.out} (it holds keys and personal data: send it encrypted)")
    return DONE


def _erase(args: argparse.Namespace) -> int:
    person = _person(args)
    profile = read_profile(args.config, args.profile)
    base = args.config.resolve().parent
    with open_sources(profile, base) as sources:
        order = EraseOrder(
            person,
            profile.name,
            args.end_subscriptions,
            lambda found: _agree(found, yes=args.yes),
            _tell,
            utc_now,
            fresh_secret,
        )
        records = erasure_records(profile, base)
        with records.alone():
            receipt = erase_customer(order, sources, records)
    print(f"erased: {receipt.customer}, {receipt.finished}")
    return DONE


def _agree(found: PersonFound, *, yes: bool) -> None:
    """Show the plan. Raises CustomerError unless somebody types whom it is about."""
    for step in plan_erasure(found):
        print(f"- {step.told}")
    kept = ", ".join(f"{count} {name}" for name, count in billed(found).items())
    print(f"What stays ({kept}):")
    for line in (*STAYS, *left_by_hand(found)):
        print(f"  {line}")
    if yes:
        return
    if not typed(found.customer, "This cannot be undone."):
        raise CustomerError(
            "erasure-not-confirmed", "Nothing was changed.", hint="--yes goes on without asking."
        )


def _tell(step: EraseStep) -> None:
    print(f"done {step.kind} {step.id}", file=sys.stderr)
