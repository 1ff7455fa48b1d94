"""The transaction to go on with."""

from __future__ import annotations

from shimmy_ops.domain.transaction.receipt import Receipt
from shimmy_ops.errors import TransactionError
from shimmy_ops.ports.transaction import Receipts


def find_open_transaction(receipts: Receipts) -> Receipt:
    """Within ``alone``. Raises TransactionError where none is open."""
    for one in receipts.listed():
        if one.outcome == "open":
            return one
    raise TransactionError(
        "transaction-none-open",
        "No live transaction is open.",
        hint="`live-transaction run` begins one; `live-transaction status` shows the last one.",
    )
