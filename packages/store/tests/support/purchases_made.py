"""Purchases for tests: a few by hand, and strategies for whatever customers may have bought."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from shimmy_store.domain.catalog import PLAN_IDS, PlanId
from shimmy_store.domain.purchases import (
    Payment,
    Purchases,
    Reversal,
    Subscription,
    SubscriptionStatus,
)

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEPT = Reversal()
DAY, MONTH, TICK = timedelta(days=1), timedelta(days=30), timedelta(microseconds=1)


def subscription(
    status: SubscriptionStatus = "active",
    *,
    plan: PlanId = "developer",
    name: str = "sub_1",
    age: timedelta = 10 * DAY,
    through: datetime | None = NOW + 20 * DAY,
    ends: datetime | None = None,
    reversal: Reversal = KEPT,
) -> Subscription:
    """A subscription as most are, but for what is said."""
    start = None if through is None else through - MONTH
    return Subscription(name, plan, status, NOW - age, start, through, ends, reversal)


def lifetime(reversal: Reversal = KEPT, age: timedelta = 10 * DAY) -> Payment:
    """A plan bought once."""
    return Payment("pi_1", "lifetime", "paid", NOW - age, reversal)


MOMENTS = st.integers(-90, 60).map(lambda days: NOW + days * DAY)
REVERSALS = st.builds(
    Reversal,
    st.sampled_from(["nothing", "nothing", "nothing", "partly", "fully"]),
    st.sampled_from(["none", "none", "none", "inquiry", "open", "won", "lost"]),
)
SUBSCRIPTIONS = st.builds(
    lambda number, status, plan, created, through, ends, reversal: Subscription(
        f"sub_{number}",
        plan,
        status,
        created,
        None if through is None else through - MONTH,
        through,
        ends,
        reversal,
    ),
    st.integers(0, 30),
    st.sampled_from(
        ["incomplete", "trialing", "active", "active", "past_due", "canceled", "unpaid", "paused"]
    ),
    st.sampled_from([one for one in PLAN_IDS if one != "lifetime"]),
    MOMENTS,
    st.none() | MOMENTS,
    st.none() | MOMENTS,
    REVERSALS,
)
PAYMENTS = st.builds(
    lambda number, status, created, reversal: Payment(
        f"pi_{number}", "lifetime", status, created, reversal
    ),
    st.integers(0, 30),
    st.sampled_from(["paid", "paid", "processing", "failed"]),
    MOMENTS,
    REVERSALS,
)
PURCHASES = st.builds(
    lambda subscriptions, payments: Purchases("cus_1", tuple(subscriptions), tuple(payments)),
    st.lists(SUBSCRIPTIONS, max_size=4, unique_by=lambda one: one.id),
    st.lists(PAYMENTS, max_size=2, unique_by=lambda one: one.id),
)


def bought(customer: str, *parts: Subscription | Payment) -> Purchases:
    """All that a customer has bought."""
    return Purchases(
        customer,
        tuple(one for one in parts if isinstance(one, Subscription)),
        tuple(one for one in parts if isinstance(one, Payment)),
    )


def purchases_of(customer: str) -> st.SearchStrategy[Purchases]:
    """What this customer may have bought, under ids that nobody else's purchases have."""
    return PURCHASES.map(
        lambda made: Purchases(
            customer,
            tuple(replace(one, id=f"{one.id}_{customer}") for one in made.subscriptions),
            tuple(replace(one, id=f"{one.id}_{customer}") for one in made.payments),
        )
    )
