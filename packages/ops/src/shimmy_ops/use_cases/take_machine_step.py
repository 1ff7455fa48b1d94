"""Use the licence as a customer does, and give its place back."""

from __future__ import annotations

from datetime import datetime

from shimmy_ops.domain.transaction.checks import Verdict, check_analysis, check_machines, failed
from shimmy_ops.domain.transaction.receipt import Receipt, StepId
from shimmy_ops.errors import TransactionError
from shimmy_ops.ports.transaction import Journey


def take_machine_step(step: StepId, receipt: Receipt, journey: Journey, _end: datetime) -> Verdict:
    """``activated``, ``analysed`` or ``deactivated``. Raises OpsError."""
    if step == "analysed":
        return _analyse(journey)
    customer = receipt.text("paid", "customer")
    if step == "activated":
        journey.machine.activate(_key(customer, journey))
        return check_machines(journey.licences.of_customer(customer), 1)
    return _deactivate(customer, receipt, journey)


def _analyse(journey: Journey) -> Verdict:
    if not journey.analysis:
        return Verdict("skipped", why="--no-analysis")
    return check_analysis(journey.machine.analyse(), livemode=journey.terms.livemode)


def _key(customer: str, journey: Journey) -> str:
    """Of the one licence there is. Raises TransactionError."""
    keys = [one.key for one in journey.licences.of_customer(customer)]
    if len(keys) == 1 and keys[0]:
        return keys[0]
    raise TransactionError(
        "transaction-licence-gone",
        f"Keygen has {len(keys)} licences of this customer: there is none to use.",
        hint="Was it deleted by hand? `live-transaction abandon` undoes the purchase.",
    )


def _deactivate(customer: str, receipt: Receipt, journey: Journey) -> Verdict:
    """By ``shimmy``; of an abandoned transaction, where that fails, as an admin of Keygen's."""
    found = journey.licences.of_customer(customer)
    machines = [machine for one in found for machine in one.machines]
    by = "shimmy"
    if machines:
        try:
            journey.machine.deactivate(found[0].key)
        except TransactionError as error:
            if receipt.way == "whole":
                return failed(f"{error.message.rstrip('.')} ({error.code}).")
            by = "admin"
            for machine in machines:
                journey.licences.free(machine)
    verdict = check_machines(journey.licences.of_customer(customer), 0)
    return Verdict(verdict.outcome, {**verdict.facts, "by": by}, verdict.why)
