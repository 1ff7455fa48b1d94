"""Open the receipt of a new live transaction; nothing is bought yet."""

from __future__ import annotations

from shimmy_ops.domain.transaction.receipt import Receipt
from shimmy_ops.errors import TransactionError
from shimmy_ops.ports.transaction import Journey


def begin_transaction(identity: str, profile: str, tool: str, journey: Journey) -> Receipt:
    """Within ``receipts.alone``. ``identity`` is short and said by no other receipt.

    Raises TransactionError where one is open, the store is in the other mode or the customer's
    program cannot do its part; DeskError where the store is not there. Nothing was begun then.
    """
    _refuse_second(journey)
    figures = journey.desk.figures(1)
    terms = journey.terms
    mode = "live" if terms.livemode else "test"
    if figures.get("mode") != mode:
        raise TransactionError(
            "transaction-of-other-mode",
            f"The store runs in another mode than profile {profile} is of ({mode}).",
            hint="Check store_url in the profile, and SHIMMY_STORE_MODE.",
        )
    receipt = Receipt(
        identity,
        profile,
        mode,
        tool,
        str(figures.get("version", "")),
        terms.plan,
        terms.amount,
        terms.currency,
        journey.now(),
    )
    journey.machine.check(analysis=journey.analysis)
    journey.receipts.save(receipt)
    return receipt


def _refuse_second(journey: Journey) -> None:
    for one in journey.receipts.listed():
        if one.outcome == "open":
            raise TransactionError(
                "transaction-open",
                f"Transaction {one.name} is still open: a second one would hide what it left.",
                hint="Go on with `live-transaction resume`, or undo it with `live-transaction "
                "abandon`.",
            )
