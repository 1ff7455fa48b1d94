"""See that the store heard of the payment and gave the customer what it was for."""

from __future__ import annotations

from datetime import datetime

from shimmy_ops.domain.transaction.checks import (
    Verdict,
    check_delivery,
    check_licence,
    check_mail,
    check_portal,
)
from shimmy_ops.domain.transaction.receipt import Receipt, StepId
from shimmy_ops.domain.transaction.sightings import parse_heard
from shimmy_ops.ports.transaction import Journey


def take_delivery_step(step: StepId, receipt: Receipt, journey: Journey, _end: datetime) -> Verdict:
    """``webhook-delivered``, ``licence-issued``, ``mail-sent`` or ``portal-opens``.

    Raises OpsError.
    """
    customer = receipt.text("paid", "customer")
    if step == "portal-opens":
        return check_portal(journey.front.status(journey.till.open_portal(customer)))
    paid_at = datetime.fromisoformat(receipt.text("paid", "paid_at"))
    if step == "licence-issued":
        bought = journey.till.subscription(receipt.text("paid", "subscription"))
        issued = journey.licences.of_customer(customer)
        return check_licence(issued, journey.terms, bought, paid_at)
    heard = parse_heard(journey.desk.find_customers(customer=customer), customer)
    if step == "mail-sent":
        return check_mail(heard, paid_at)
    session = journey.till.session(receipt.text("checkout-opened", "session"))
    return check_delivery(journey.till.completion(session), heard, paid_at)
