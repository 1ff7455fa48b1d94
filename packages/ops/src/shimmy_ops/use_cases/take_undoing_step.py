"""Give the money back, end the subscription, and see that nothing is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shimmy_ops.domain.transaction.checks import (
    Verdict,
    check_ended,
    check_nothing_left,
    check_refund,
    check_refunds,
    check_refusal,
    check_suspended,
)
from shimmy_ops.domain.transaction.receipt import Receipt, StepId
from shimmy_ops.domain.transaction.sightings import SeenCharge, SeenRefund, parse_heard
from shimmy_ops.errors import OpsError
from shimmy_ops.ports.transaction import Journey


def take_undoing_step(step: StepId, receipt: Receipt, journey: Journey, end: datetime) -> Verdict:
    """``refunded``, ``ended``, ``suspended`` or ``nothing-left``; ``end`` is when patience ends.

    Raises OpsError.
    """
    match step:
        case "refunded":
            return _refund(receipt, journey)
        case "ended":
            return _end_subscription(receipt, journey)
        case "suspended":
            return _see_suspended(receipt, journey, end)
        case _:
            return _see_nothing_left(receipt, journey)


def _refund(receipt: Receipt, journey: Journey) -> Verdict:
    """Every payment of this customer, whom the purchase made: months may have been billed since."""
    record, seen = receipt.step("refunded"), _payments(receipt, journey)
    attempt = 1 if record is None else record.attempts
    refused: OpsError | None = None
    kept = [charge for charge, refunds in seen if check_refund(charge, refunds).facts["missing"]]
    for charge in kept:
        try:
            journey.till.refund(charge.id, attempt)
        except OpsError as error:
            # The others go back all the same.
            refused = refused or error
    if refused is not None:
        raise refused
    return check_refunds(_payments(receipt, journey) if kept else seen)


def _payments(
    receipt: Receipt, journey: Journey
) -> Sequence[tuple[SeenCharge, Sequence[SeenRefund]]]:
    """With what went back of each; nothing while Stripe does not show the first one."""
    charges = [one for one in journey.till.charges(receipt.text("paid", "customer")) if one.paid]
    if all(one.id != receipt.text("paid", "charge") for one in charges):
        return ()
    return [(one, journey.till.refunds(one.id)) for one in charges]


def _end_subscription(receipt: Receipt, journey: Journey) -> Verdict:
    subscription = receipt.text("paid", "subscription")
    verdict = check_ended(journey.till.subscription(subscription))
    if verdict.outcome == "waiting":
        journey.till.end(subscription)
        verdict = check_ended(journey.till.subscription(subscription))
    return verdict


def _see_suspended(receipt: Receipt, journey: Journey, end: datetime) -> Verdict:
    """By what webhooks tell the store; with half our patience gone it is told to look.

    Never before the receipt says so: a cut in between hides nothing.
    """
    customer = receipt.text("paid", "customer")
    looks = bool(receipt.fact("suspended", "needed_look"))
    licences = journey.licences.of_customer(customer)
    verdict = check_suspended(licences, journey.now())
    if verdict.outcome == "waiting" and looks:
        journey.desk.look(customer)
        licences = journey.licences.of_customer(customer)
        verdict = check_suspended(licences, journey.now())
    looks = looks or (verdict.outcome == "waiting" and _half_over(journey, end))
    if verdict.outcome == "held" and receipt.way == "whole":
        refused = check_refusal(journey.machine.confirm(licences[0].key if licences else ""))
        verdict = replace(refused, facts={**verdict.facts, **refused.facts})
    return replace(verdict, facts={**verdict.facts, "needed_look": looks})


def _half_over(journey: Journey, end: datetime) -> bool:
    return end - journey.now() < timedelta(seconds=journey.patience.step / 2)


def _see_nothing_left(receipt: Receipt, journey: Journey) -> Verdict:
    customer = receipt.text("paid", "customer")
    journey.machine.remove()
    # A month may have been billed between the refund and the end of the subscription.
    back = _refund(receipt, journey)
    if back.outcome != "held":
        return replace(back, facts={})
    # Whoever abandons may do so because no webhook arrives; Stripe goes on trying for days.
    whole = receipt.way == "whole"
    since = datetime.fromisoformat(receipt.text("paid", "paid_at"))
    undelivered = journey.till.undelivered(customer, since) if whole else 0
    heard = parse_heard(journey.desk.find_customers(customer=customer), customer)
    remains, licences = journey.till.remains(customer), journey.licences.of_customer(customer)
    verdict = check_nothing_left(remains, licences, heard, undelivered)
    if verdict.outcome != "held" or heard is None:
        return verdict
    done = sorted(
        one.code for one in heard.alarms if journey.desk.acknowledge(one.code, one.subject)
    )
    return replace(verdict, facts={**verdict.facts, "acknowledged": ",".join(done)})
