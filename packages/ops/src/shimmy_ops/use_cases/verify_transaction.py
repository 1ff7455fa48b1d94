"""Whether the newest transaction that ended proves that buying works, and paying back."""

from __future__ import annotations

from datetime import datetime, timedelta

from shimmy_ops.domain.transaction.receipt import Receipt, Verified, check_receipt
from shimmy_ops.ports.transaction import Receipts


def verify_transaction(
    receipts: Receipts, now: datetime, oldest: timedelta, *, allow_skipped: bool = False
) -> tuple[Receipt | None, Verified]:
    """The newest that is not open, and what is wrong with it. Raises TransactionError."""
    found = receipts.listed()
    finished = [one for one in found if one.outcome != "open"]
    still_open = [f"{one.name} is still open" for one in found if one.outcome == "open"]
    if not finished:
        return None, Verified(("no live transaction has ended yet", *still_open))
    verified = check_receipt(finished[-1], now, oldest, allow_skipped=allow_skipped)
    return finished[-1], Verified(verified.problems, (*verified.notes, *still_open))
