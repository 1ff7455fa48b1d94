"""What is earned each month, by plan, who left, and what went back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from shimmy_ops.domain.contracts import Offer
from shimmy_ops.domain.monitoring.accounts import (
    NEVER_BEGAN,
    Loss,
    Money,
    Sale,
    Subscription,
    is_undecided,
)
from shimmy_ops.domain.monitoring.picture import Losses, Revenue, TierRevenue

# Trials pay nothing yet; the store keeps access for a while when a renewal is late.
_EARNING, _ACTIVE = ("active", "past_due"), ("active", "past_due", "trialing")
_NO_REFUND = ("failed", "canceled")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The plans that are sold, in order, and the currency that is counted."""

    currency: str
    plans: tuple[tuple[str, str], ...]


def catalogue_of(offer: Offer) -> Catalogue:
    """What figures need of the contracts."""
    return Catalogue(offer.currency, tuple((plan.id, plan.name) for plan in offer.plans))


def revenue_of(money: Money, catalogue: Catalogue, since: datetime, until: datetime) -> Revenue:
    """Over the window; other currencies are listed and not counted."""
    currency = catalogue.currency
    ours = [one for one in money.subscriptions if one.currency == currency]
    begun = [one for one in ours if one.status not in NEVER_BEGAN]
    sales = [one for one in money.sales if one.currency == currency]
    tiers = tuple(_tier(plan, name, begun, sales, since, until) for plan, name in catalogue.plans)
    before = [one for one in begun if _was_active(one, since)]
    # Whoever came and went within the window is in no share of those who were there before.
    left = sum(one.ended is not None and one.ended <= until for one in before)
    within = [one for one in money.owed if since <= one.created <= until]
    statuses = Counter(one.status for one in ours)
    return Revenue(
        currency,
        sum(one.mrr for one in tiers),
        sum(one.active for one in tiers),
        sum(one.new for one in tiers),
        sum(one.cancelled for one in tiers),
        left / len(before) if before else None,
        len(sales),
        sum(one.amount for one in sales),
        len(money.owed),
        sum(one.attempted for one in within),
        tiers,
        tuple(sorted(statuses.items(), key=lambda one: (-one[1], one[0]))),
        _others("subscriptions", (one.currency for one in money.subscriptions), currency)
        + _others("sales", (one.currency for one in money.sales), currency),
    )


def _tier(
    plan: str,
    name: str,
    subscriptions: Sequence[Subscription],
    sales: Sequence[Sale],
    since: datetime,
    until: datetime,
) -> TierRevenue:
    of_plan = [one for one in subscriptions if one.plan == plan]
    sold = [one for one in sales if one.plan == plan and since <= one.created <= until]
    return TierRevenue(
        plan,
        name,
        sum(one.status in _ACTIVE for one in of_plan),
        sum(one.monthly for one in of_plan if one.status in _EARNING),
        sum(since <= one.created <= until for one in of_plan),
        sum(one.ended is not None and since <= one.ended <= until for one in of_plan),
        len(sold),
        sum(one.amount for one in sold),
    )


def _was_active(one: Subscription, at: datetime) -> bool:
    return one.created < at and (one.ended is None or one.ended >= at)


def losses_of(money: Money, currency: str, since: datetime, until: datetime) -> Losses:
    """Refunds that did not fail, and disputes, of the window."""

    def within(losses: Iterable[Loss]) -> list[Loss]:
        return [one for one in losses if since <= one.created <= until]

    refunds = within(one for one in money.refunds if one.status not in _NO_REFUND)
    disputes = within(money.disputes)
    return Losses(
        currency,
        sum(one.currency == currency for one in refunds),
        sum(one.amount for one in refunds if one.currency == currency),
        sum(one.currency == currency for one in disputes),
        sum(one.amount for one in disputes if one.currency == currency),
        len(undecided_disputes(money)),
        _others("refunds", (one.currency for one in refunds), currency)
        + _others("disputes", (one.currency for one in disputes), currency),
    )


def undecided_disputes(money: Money) -> tuple[str, ...]:
    """Ids of disputes and inquiries that ask for an answer, whatever their currency."""
    return tuple(one.id for one in money.disputes if is_undecided(one.status))


def _others(what: str, currencies: Iterable[str], counted: str) -> tuple[str, ...]:
    counts = Counter(one for one in currencies if one != counted)
    return tuple(f"{count} {what} in {currency}" for currency, count in sorted(counts.items()))
