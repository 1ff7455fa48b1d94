"""``shimmy-ops live-transaction``: buy the lowest plan for real, use it, and undo it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from shimmy_ops import __version__
from shimmy_ops.cli.confirming import typed
from shimmy_ops.cli.exit_codes import DONE, REFUSED
from shimmy_ops.cli.profile import add_profile
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.transaction.choosing import choose_terms, kept_terms
from shimmy_ops.domain.transaction.receipt import Receipt, StepRecord, describe_receipt
from shimmy_ops.domain.transaction.sightings import Terms
from shimmy_ops.errors import TransactionError
from shimmy_ops.ports.transaction import Journey
from shimmy_ops.use_cases.advance_transaction import advance_transaction
from shimmy_ops.use_cases.begin_transaction import begin_transaction
from shimmy_ops.use_cases.find_open_transaction import find_open_transaction
from shimmy_ops.use_cases.verify_transaction import verify_transaction
from shimmy_ops.wiring.accounts import desired_state, read_profile
from shimmy_ops.wiring.transaction import (
    Choices,
    current_time,
    fresh_identity,
    open_journey,
    open_receipts,
)

_ACTIONS = ("run", "resume", "status", "verify", "abandon")
_SAY_AGAIN_SECONDS = 60.0
_LONGEST = 100_000


def add_arguments(_: str, command: argparse.ArgumentParser) -> None:
    """One action, run unless another is named."""
    command.add_argument("action", nargs="?", choices=_ACTIONS, default="run")
    add_profile(command)
    command.add_argument("--json", action="store_true", help="machine-readable, on stdout")
    buying = command.add_argument_group("run, resume, abandon")
    buying.add_argument("--yes", action="store_true", help="live: do not ask before buying")
    buying.add_argument("--model", type=Path, metavar="FOLDER", help="analyse with this model")
    buying.add_argument("--no-analysis", action="store_true", help="there is no model here")
    buying.add_argument(
        "--wait-minutes",
        type=_duration,
        default=30,
        metavar="N",
        help="for the payment; 30",
    )
    buying.add_argument(
        "--wait-seconds", type=_duration, default=300, metavar="N", help="for any other step; 300"
    )
    buying.add_argument("--shimmy", default="", metavar="PROGRAM", help="the customer's program")
    buying.add_argument("--card", default="", help="sandbox: another test card that pays")
    proving = command.add_argument_group("verify")
    proving.add_argument("--max-age-hours", type=_duration, default=168, metavar="N")
    proving.add_argument(
        "--allow-skipped", action="store_true", help="without an analysis it is whole, too"
    )


def _duration(text: str) -> float:
    number = float(text)
    if not 0 < number <= _LONGEST:
        raise argparse.ArgumentTypeError(f"a number above 0 and up to {_LONGEST}")
    return number


def run(args: argparse.Namespace) -> int:
    """0 when all held (verify: when the newest receipt proves it)."""
    profile = read_profile(args.config, args.profile)
    base = args.config.resolve().parent
    if args.card and profile.name != "sandbox":
        raise TransactionError(
            "card-in-arguments",
            "--card is for the sandbox: arguments can be read by everybody on this machine.",
            hint="Type the card on the page that opens. If it was a real one, ask for another.",
        )
    if args.action == "status":
        return _status(args, profile, base)
    if args.action == "verify":
        return _verify(args, profile, base)
    receipts = open_receipts(profile, base)
    with receipts.alone():
        ended = _run(args, profile, base) if args.action == "run" else _go_on(args, profile, base)
    if args.json:
        print(json.dumps(describe_receipt(ended), indent=2))
    else:
        _show(ended)
    return DONE


def _run(args: argparse.Namespace, profile: Profile, base: Path) -> Receipt:
    terms = choose_terms(desired_state(profile).offer, livemode=profile.livemode)
    identity = fresh_identity()
    with _journey(args, profile, base, terms, identity) as journey:
        # Refused before anybody is asked.
        _confirm(terms, profile, yes=args.yes)
        receipt = begin_transaction(identity, profile.name, __version__, journey)
        return advance_transaction(receipt, journey)


def _go_on(args: argparse.Namespace, profile: Profile, base: Path) -> Receipt:
    receipts = open_receipts(profile, base)
    receipt = find_open_transaction(receipts)
    if args.action == "abandon":
        receipt = replace(receipt, way="abandoned")
        receipts.save(receipt)
    terms = kept_terms(receipt, desired_state(profile).offer)
    with _journey(args, profile, base, terms, receipt.id) as journey:
        return advance_transaction(receipt, journey)


@contextmanager
def _journey(
    args: argparse.Namespace, profile: Profile, base: Path, terms: Terms, identity: str
) -> Iterator[Journey]:
    choices = Choices(
        wait_minutes=args.wait_minutes,
        card=args.card,
        shimmy=args.shimmy,
        model=args.model,
        analysis=not args.no_analysis,
        wait_seconds=args.wait_seconds,
    )

    def show(url: str) -> None:
        _ask_to_pay(url, profile, terms)

    teller = _Teller()
    with open_journey(profile, base, terms, identity, choices, show, teller.tell) as journey:
        yield journey


def _confirm(terms: Terms, profile: Profile, *, yes: bool) -> None:
    """Raises TransactionError unless somebody agrees that real money moves."""
    if not profile.livemode:
        return
    price = _money(terms.amount, terms.currency)
    print(
        f"This buys {terms.plan} for REAL: {price} is charged to your card and paid back in full "
        "at once.\nStripe keeps its fee for the payment.",
        file=sys.stderr,
    )
    if yes:
        return
    if not typed("live"):
        raise TransactionError(
            "transaction-not-confirmed",
            "Nothing was bought.",
            hint="--yes goes on without asking.",
        )


def _ask_to_pay(url: str, profile: Profile, terms: Terms) -> None:
    card = "a card of your own" if profile.livemode else "the card 4242 4242 4242 4242"
    print(
        f"Pay {_money(terms.amount, terms.currency)} on the page that opens now, with {card} and "
        f"your own mail address. On another machine, open:\n{url}",
        file=sys.stderr,
        flush=True,
    )


class _Teller:
    """Says what is new, and while something waits that it still does."""

    def __init__(self) -> None:
        self._last: tuple[str, ...] = ()
        self._said = 0.0

    def tell(self, record: StepRecord) -> None:
        """One line on stderr, but for a step that has only begun."""
        if record.outcome == "waiting" and not record.why:
            return
        new = (record.id, record.outcome, record.why)
        again = time.monotonic() - self._said > _SAY_AGAIN_SECONDS
        if new == self._last and not again:
            return
        self._last, self._said = new, time.monotonic()
        waited = (current_time() - record.began).total_seconds()
        took = f" ({waited if record.seconds is None else record.seconds:.1f} s)"
        why = f": {record.why}" if record.why else ""
        print(f"{record.outcome:8}{record.id}{took}{why}", file=sys.stderr, flush=True)


def _status(args: argparse.Namespace, profile: Profile, base: Path) -> int:
    found = open_receipts(profile, base).listed()
    newest = next((one for one in found if one.outcome == "open"), found[-1] if found else None)
    if args.json:
        print(json.dumps(None if newest is None else describe_receipt(newest), indent=2))
    elif newest is None:
        print("no live transaction was made yet")
    else:
        _show(newest)
    return DONE


def _verify(args: argparse.Namespace, profile: Profile, base: Path) -> int:
    oldest = timedelta(hours=args.max_age_hours)
    receipt, verified = verify_transaction(
        open_receipts(profile, base), current_time(), oldest, allow_skipped=args.allow_skipped
    )
    if args.json:
        document: dict[str, Any] = {
            "whole": verified.whole,
            "problems": list(verified.problems),
            "notes": list(verified.notes),
            "receipt": None if receipt is None else describe_receipt(receipt),
        }
        print(json.dumps(document, indent=2))
    else:
        for problem in verified.problems:
            print(f"! {problem}")
        for note in verified.notes:
            print(f"  {note}")
        if receipt is not None:
            said = "whole" if verified.whole else "no proof"
            print(f"{receipt.name}: {said}")
    return DONE if verified.whole else REFUSED


def _show(receipt: Receipt) -> None:
    price = _money(receipt.amount, receipt.currency)
    print(f"{receipt.name}  {receipt.profile}  {receipt.plan} for {price}  {receipt.outcome}")
    for one in receipt.steps:
        took = "" if one.seconds is None else f"{one.seconds:.1f} s"
        line = f"  {one.began:%H:%M:%S}  {took:>8}  {one.outcome:8}{one.id:18}{one.why}"
        print(line.rstrip())
    for what, seconds in (
        ("licence", receipt.seconds_to_licence),
        ("mail", receipt.seconds_to_mail),
    ):
        if seconds is not None:
            print(f"  {what} {seconds:.1f} s after the payment")


def _money(amount: int, currency: str) -> str:
    return f"{amount / 100:.2f} {currency.upper()}"
