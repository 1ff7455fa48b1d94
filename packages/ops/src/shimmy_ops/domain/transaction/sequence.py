"""Which step comes next: decided from the receipt alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from shimmy_ops.domain.transaction.receipt import STEPS, Receipt, StepId, Way

PATHS: Mapping[Way, tuple[StepId, ...]] = {
    "whole": STEPS,
    "abandoned": ("paid", "deactivated", "refunded", "ended", "suspended", "nothing-left"),
}


def decide_next(receipt: Receipt, passed: Collection[StepId] = ()) -> StepId | None:
    """The first step of its way that is not over; None where none is left, or nobody ever paid.

    ``passed`` are steps that failed in this run and are gone by: of an abandoned one, whose money
    goes back whatever else fails.
    """
    paid = receipt.step("paid")
    if paid is not None and paid.outcome == "skipped":
        return None
    for step in PATHS[receipt.way]:
        record = receipt.step(step)
        if step not in passed and (record is None or not record.over):
            return step
    return None
