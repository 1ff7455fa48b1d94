"""What one customer has bought, as Stripe has it now: values, whatever event made us look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from shimmy_store.domain.catalog import PlanId

SubscriptionStatus: TypeAlias = Literal[
    "incomplete",
    "incomplete_expired",
    "trialing",
    "active",
    "past_due",
    "canceled",
    "unpaid",
    "paused",
]
PaymentStatus: TypeAlias = Literal["paid", "processing", "failed"]
Refunded: TypeAlias = Literal["nothing", "partly", "fully"]
# An inquiry ("warning_…" at Stripe) asks for papers and takes no money: it is no dispute yet.
DisputeState: TypeAlias = Literal["none", "inquiry", "open", "won", "lost"]


@dataclass(frozen=True, slots=True)
class Reversal:
    """What became of a payment afterwards; a refund that failed counts as none.

    ``refunded`` is of what is used now. ``partial`` names every refund of a part or of an earlier
    month, each with its amount, and ``disputes`` those that are open or lost: what a person is told
    of, once for each.
    """

    refunded: Refunded = "nothing"
    dispute: DisputeState = "none"
    partial: tuple[str, ...] = ()
    disputes: tuple[str, ...] = ()

    @property
    def takes_access(self) -> bool:
        """A full refund and a dispute that is open or lost do."""
        return self.refunded == "fully" or self.dispute in ("open", "lost")


@dataclass(frozen=True, slots=True)
class Subscription:
    """A monthly plan; ``id`` is Stripe's.

    ``paid_from`` and ``paid_through`` bound the latest month that was paid for, None before the
    first payment; ``reversal`` is of everything paid for that month, its disputes of all months.
    ``ends`` is when it was or will be cancelled: Stripe's ``cancel_at`` or, with
    ``cancel_at_period_end``, the end of the current month. ``owed`` is the unpaid invoice of a
    change of plan; ``plan`` is nothing better than what was paid for. ``several``: more than one
    plan is in it.
    """

    id: str
    plan: PlanId
    status: SubscriptionStatus
    created: datetime
    paid_from: datetime | None
    paid_through: datetime | None
    ends: datetime | None = None
    reversal: Reversal = Reversal()
    owed: str = ""
    several: bool = False


@dataclass(frozen=True, slots=True)
class Payment:
    """A plan bought once; ``id`` is the payment intent's, the session's where nothing was due."""

    id: str
    plan: PlanId
    status: PaymentStatus
    created: datetime
    reversal: Reversal = Reversal()


@dataclass(frozen=True, slots=True)
class Purchases:
    """Everything one Stripe customer has bought. The customer is the id, never the email.

    ``email`` is the address Stripe has, empty for none. ``given_up`` names subscriptions that ended
    with a merge of two customers: they give nothing any more and must not go on taking money.
    """

    customer: str
    subscriptions: tuple[Subscription, ...] = ()
    payments: tuple[Payment, ...] = ()
    email: str = field(repr=False, default="")
    given_up: frozenset[str] = frozenset()


def combine_purchases(own: Purchases, merged: Sequence[Purchases]) -> Purchases:
    """What ``own``'s licence stands for: also the purchases of customers merged into it."""
    return Purchases(
        own.customer,
        tuple(bought for one in (own, *merged) for bought in one.subscriptions),
        tuple(bought for one in (own, *merged) for bought in one.payments),
        own.email,
        own.given_up.union(*(one.given_up for one in merged)),
    )
