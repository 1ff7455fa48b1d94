"""Open the page to pay on, and have it paid."""

from __future__ import annotations

import re
from datetime import datetime

from shimmy_ops.domain.transaction.checks import (
    Verdict,
    check_paid,
    check_session,
    failed,
    waiting,
)
from shimmy_ops.domain.transaction.receipt import Receipt, StepId
from shimmy_ops.domain.transaction.sightings import SeenSession
from shimmy_ops.errors import BillingError
from shimmy_ops.ports.transaction import Journey

_SESSION = re.compile(r"/(cs_\w{1,250})(?=[/?#]|$)", re.ASCII)


def take_payment_step(step: StepId, receipt: Receipt, journey: Journey, _end: datetime) -> Verdict:
    """``checkout-opened`` or ``paid``. Raises OpsError."""
    if step == "checkout-opened":
        return _open_checkout(receipt, journey)
    if receipt.way == "abandoned":
        return _withdraw(receipt, journey)
    session = journey.till.session(receipt.text("checkout-opened", "session"))
    if session.status == "open":
        journey.payer.ask(session)
        session = journey.till.session(session.id)
    return _paid(session, journey)


def _open_checkout(receipt: Receipt, journey: Journey) -> Verdict:
    """The one of before, as long as it can be paid."""
    known = receipt.text("checkout-opened", "session")
    if known:
        session = journey.till.session(known)
        if session.status != "expired":
            return check_session(session, journey.terms)
    found = _SESSION.search(journey.front.begin_checkout(journey.terms.plan))
    if found is None:
        return failed("The store leads to no checkout page of Stripe's.")
    return check_session(journey.till.session(found[1]), journey.terms)


def _paid(session: SeenSession, journey: Journey) -> Verdict:
    charges = journey.till.charges(session.customer) if session.customer else ()
    return check_paid(session, charges, journey.terms, journey.mailbox)


def _withdraw(receipt: Receipt, journey: Journey) -> Verdict:
    """Nobody can pay it any more; or somebody has, and then there is money to give back."""
    known = receipt.text("checkout-opened", "session")
    if not known:
        return Verdict("skipped", {"paid": False})
    session = journey.till.session(known)
    if session.status == "open":
        try:
            journey.till.expire(known)
        except BillingError:
            # Paid in this very moment, as a rule: the next look tells.
            return waiting("the checkout page cannot be closed")
        session = journey.till.session(known)
    if session.status == "expired":
        return Verdict("skipped", {"paid": False})
    verdict = _paid(session, journey)
    known_all = bool(verdict.facts.get("charge"))
    # Whatever is wrong about the payment, it goes back.
    return Verdict("held", verdict.facts, verdict.why) if known_all else verdict
