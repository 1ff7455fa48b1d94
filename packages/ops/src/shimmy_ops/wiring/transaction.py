"""Everything that a live transaction goes through."""

from __future__ import annotations

import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shimmy_ops.adapters.accounts.keygen_issued import KeygenIssued
from shimmy_ops.adapters.accounts.stripe_till import StripeTill
from shimmy_ops.adapters.transaction.browser_payer import BrowserPayer, SystemBrowser
from shimmy_ops.adapters.transaction.file_receipts import FileReceipts
from shimmy_ops.adapters.transaction.http_storefront import HttpStorefront
from shimmy_ops.adapters.transaction.process_machine import ProcessMachine
from shimmy_ops.adapters.transaction.process_payer import ProcessPayer
from shimmy_ops.domain.profile import Profile
from shimmy_ops.domain.transaction.receipt import StepRecord
from shimmy_ops.domain.transaction.sightings import Terms
from shimmy_ops.ports.transaction import Journey, Patience, Payer, Receipts
from shimmy_ops.settings import customer_environment
from shimmy_ops.wiring.accounts import http_client, open_keygen, open_stripe
from shimmy_ops.wiring.store import open_desk

_FOLDER, _BUYER = "transactions", "operator@example.com"
_CARD = "4242424242424242"
_WAIT_SECONDS, _LOOK_SECONDS = 300.0, 2.0
_SANDBOX_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Choices:
    """What the operator says besides the profile.

    ``shimmy`` is the customer's program, found by itself where it is empty; ``card`` is a test card
    of the sandbox's; ``wait_minutes`` is how long somebody may take to pay.
    """

    wait_minutes: float
    card: str = ""
    shimmy: str = ""
    model: Path | None = None
    analysis: bool = True
    wait_seconds: float = _WAIT_SECONDS


def open_receipts(profile: Profile, base: Path) -> Receipts:
    """Where this profile's are kept; ``base`` is where the profile's folders are."""
    return FileReceipts(base / profile.state_folder / _FOLDER, profile.name)


@contextmanager
def open_journey(
    profile: Profile,
    base: Path,
    terms: Terms,
    identity: str,
    choices: Choices,
    show: Callable[[str], None],
    told: Callable[[StepRecord], None],
) -> Iterator[Journey]:
    """``show`` is given the page to pay on. Raises OpsError."""
    sandbox = profile.name == "sandbox"
    with ExitStack() as stack:
        client = stack.enter_context(open_stripe(profile))
        wire = stack.enter_context(open_keygen(profile))
        front = stack.enter_context(http_client(profile, profile.store_url))
        yield Journey(
            terms=terms,
            till=StripeTill(client, profile.return_url),
            licences=KeygenIssued(wire),
            front=HttpStorefront(front),
            desk=stack.enter_context(open_desk(profile, base)),
            payer=_payer(profile, choices, show),
            machine=_machine(profile, base, identity, choices),
            receipts=open_receipts(profile, base),
            patience=Patience(
                choices.wait_minutes * 60,
                choices.wait_seconds,
                _SANDBOX_LOOK_SECONDS if sandbox else _LOOK_SECONDS,
            ),
            now=current_time,
            rest=time.sleep,
            told=told,
            mailbox=profile.operator_mail,
            analysis=choices.analysis,
        )


def _payer(profile: Profile, choices: Choices, show: Callable[[str], None]) -> Payer:
    if profile.name != "sandbox":
        return BrowserPayer(show, SystemBrowser(customer_environment()))
    program = [_program("shimmy-sandbox")]
    buyer = profile.operator_mail or _BUYER
    return ProcessPayer(program, buyer, choices.card or _CARD, customer_environment())


def _machine(profile: Profile, base: Path, identity: str, choices: Choices) -> ProcessMachine:
    environ, maker = customer_environment(), list[str]()
    if profile.name == "sandbox":
        environ |= {"SHIMMY_LICENSE_URL": profile.keygen_url, "SHIMMY_ALLOW_SYNTHETIC": "1"}
        maker = [_program("shimmy-sandbox"), "synthetic-model"]
    return ProcessMachine(
        [choices.shimmy or _program("shimmy")],
        (base / profile.state_folder / _FOLDER / f"{identity}.machine").absolute(),
        f"shimmy-ops-{identity}",
        environ,
        None if choices.model is None else choices.model.absolute(),
        maker,
        profile.name == "sandbox",
    )


def _program(name: str) -> str:
    """The one of this very installation, or whichever the system finds."""
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name) or name


def current_time() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


def fresh_identity() -> str:
    """Six letters, which with the time to the second no other receipt has."""
    return secrets.token_hex(3)
