"""Take an open transaction from where it is to its end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shimmy_ops.domain.transaction.checks import Verdict, failed, waiting
from shimmy_ops.domain.transaction.receipt import Receipt, StepId, StepRecord
from shimmy_ops.domain.transaction.sequence import decide_next
from shimmy_ops.errors import OpsError, TransactionError
from shimmy_ops.ports.transaction import Journey
from shimmy_ops.use_cases.take_delivery_step import take_delivery_step
from shimmy_ops.use_cases.take_machine_step import take_machine_step
from shimmy_ops.use_cases.take_payment_step import take_payment_step
from shimmy_ops.use_cases.take_undoing_step import take_undoing_step

_TAKERS = {
    **dict.fromkeys(("checkout-opened", "paid"), take_payment_step),
    **dict.fromkeys(
        ("webhook-delivered", "licence-issued", "mail-sent", "portal-opens"), take_delivery_step
    ),
    **dict.fromkeys(("activated", "analysed", "deactivated"), take_machine_step),
    **dict.fromkeys(("refunded", "ended", "suspended", "nothing-left"), take_undoing_step),
}


def advance_transaction(receipt: Receipt, journey: Journey) -> Receipt:
    """The finished receipt. Within ``receipts.alone``; may be cut off anywhere and begun again.

    Every step looks first whether it already holds. Raises TransactionError for the first step that
    does not come to hold; of an abandoned transaction the others are taken all the same.
    """
    course = _Course(receipt, journey)
    passed: set[StepId] = set()
    problem: TransactionError | None = None
    while (step := decide_next(course.receipt, passed)) is not None:
        verdict, late = course.take(step)
        if verdict.outcome in ("held", "skipped"):
            continue
        problem = problem or _problem(step, verdict, late=late)
        # Without knowing who paid there is nothing to undo, and all else would seem undone.
        if course.receipt.way == "whole" or step == "paid":
            course.close_unbegun()
            if step == "refunded":
                # A refund may be under way for days, and nothing is billed meanwhile.
                course.take("ended")
            raise problem
        passed.add(step)
    if problem is not None:
        raise problem
    return course.finish()


def _problem(step: StepId, verdict: Verdict, *, late: bool) -> TransactionError:
    hint = "`live-transaction resume` goes on from here; `abandon` pays back and ends it."
    if late:
        return TransactionError(
            "transaction-step-late",
            f"{step}: waited long enough, and {verdict.why}.",
            hint=hint,
            retryable=True,
        )
    return TransactionError("transaction-step-failed", f"{step}: {verdict.why}", hint=hint)


@dataclass
class _Course:
    """One receipt on its way."""

    receipt: Receipt
    journey: Journey

    def take(self, step: StepId) -> tuple[Verdict, bool]:
        """What became of it, and whether that is because it took too long."""
        self._begin(step)
        end = self.journey.now() + timedelta(seconds=self._patience(step))
        while True:
            verdict = self._look(step, end)
            late = verdict.outcome == "waiting" and self.journey.now() >= end
            if verdict.outcome != "waiting" or late:
                break
            self._wait(self._record(step, verdict, None))
            self.journey.rest(self.journey.patience.between)
        told = replace(verdict, outcome="failed") if late else verdict
        self._keep(self._record(step, told, self.journey.now()))
        return verdict, late

    def _wait(self, record: StepRecord) -> None:
        """What it waits for is kept where that is new: for `status`, and for whoever resumes."""
        if record == self.receipt.step(record.id):
            self.journey.told(record)
        else:
            self._keep(record)

    def _look(self, step: StepId, end: datetime) -> Verdict:
        try:
            return _TAKERS[step](step, self.receipt, self.journey, end)
        except OpsError as error:
            said = f"{error.message.rstrip('.')} ({error.code})"
            return waiting(said) if error.retryable else failed(f"{said}.")

    def _patience(self, step: StepId) -> float:
        if step == "checkout-opened":
            return 0
        if step == "paid" and self.receipt.way == "whole":
            return self.journey.patience.payment
        return self.journey.patience.step

    def _begin(self, step: StepId) -> None:
        """Known to have begun before anything is done; again after a failure, not after a cut."""
        before = self.receipt.step(step)
        if before is None:
            self._keep(StepRecord(step, self.journey.now()))
        elif before.outcome == "failed":
            again = replace(before, outcome="waiting", ended=None, attempts=before.attempts + 1)
            self._keep(again)

    def _record(self, step: StepId, verdict: Verdict, ended: datetime | None) -> StepRecord:
        before = self.receipt.step(step)
        if before is None:
            raise LookupError(step)
        facts = {**before.facts, **verdict.facts}
        return replace(before, outcome=verdict.outcome, facts=facts, why=verdict.why, ended=ended)

    def _keep(self, record: StepRecord) -> None:
        receipt = self.receipt.with_step(record)
        self.journey.receipts.save(receipt)
        self.receipt = receipt
        self.journey.told(record)

    def close_unbegun(self) -> None:
        """Without a page to pay on there is nothing to go on with, or to undo."""
        if not self.receipt.text("checkout-opened", "session"):
            self._close(replace(self.receipt, outcome="failed"))

    def finish(self) -> Receipt:
        """Over, and as its way says."""
        whole = self.receipt.way == "whole"
        self._close(replace(self.receipt, outcome="held" if whole else "abandoned"))
        return self.receipt

    def _close(self, receipt: Receipt) -> None:
        receipt = replace(receipt, ended=self.journey.now())
        self.journey.receipts.save(receipt)
        self.receipt = receipt
