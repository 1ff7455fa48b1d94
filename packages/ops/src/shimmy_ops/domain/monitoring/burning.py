"""How fast error budgets go: several windows, several rates (Google's SRE workbook, chapter 5).

A fast burn over an hour wakes somebody; a slow one over days makes a ticket. The short window of
each pair lets an alert end soon after the trouble did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from shimmy_ops.domain.monitoring.picture import BurnRate, Severity
from shimmy_ops.domain.monitoring.traffic import Share

# One failure among few requests is no burn.
LEAST_BAD = 2


@dataclass(frozen=True, slots=True)
class BurnRule:
    """Fires where both windows burn at least ``factor`` times as fast as the budget allows."""

    factor: float
    long_hours: float
    short_hours: float
    severity: Severity


BURN_RULES = (
    BurnRule(14.4, 1, 5 / 60, "page"),
    BurnRule(6, 6, 0.5, "page"),
    BurnRule(3, 24, 2, "ticket"),
    BurnRule(1, 72, 6, "ticket"),
)
LONGEST = timedelta(hours=max(rule.long_hours for rule in BURN_RULES))

ShareOf = Callable[[datetime, datetime], Share]


def burn_rate(share: Share, budget: float) -> float | None:
    """``budget`` is the share that may be bad. None where nothing was counted."""
    ratio = share.ratio
    return None if ratio is None else ratio / budget


def burn_rates(share_of: ShareOf, budget: float, now: datetime) -> tuple[BurnRate, ...]:
    """By window, shortest first."""
    hours = sorted({one for rule in BURN_RULES for one in (rule.long_hours, rule.short_hours)})
    return tuple(
        BurnRate(each, burn_rate(share_of(now - timedelta(hours=each), now), budget))
        for each in hours
    )


def burns(rule: BurnRule, share_of: ShareOf, budget: float, now: datetime) -> bool | None:
    """Whether the rule fires; None where nobody looked in one of its windows."""
    long = share_of(now - timedelta(hours=rule.long_hours), now)
    short = share_of(now - timedelta(hours=rule.short_hours), now)
    if not (long.seen and short.seen):
        return None
    rates = [burn_rate(share, budget) or 0.0 for share in (long, short)]
    return long.bad >= LEAST_BAD and min(rates) >= rule.factor
