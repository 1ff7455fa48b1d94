"""Two Stripe customers that are one person: whose licence stays, and what ends.

Only ever decided after the holder of the address has said so; the address alone merges nothing,
since an outsider can pay with somebody's address.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from shimmy_store.domain.catalog import rank
from shimmy_store.domain.fulfilment import Licence, decide_fulfilment
from shimmy_store.domain.purchases import Purchases


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two, with the purchase its licence was made under, where there is one."""

    purchases: Purchases
    origin: str | None


@dataclass(frozen=True, slots=True)
class Merge:
    """``given_up`` are the loser's subscriptions: those that run end, with credit for the rest.

    One that is cancelled and not over gives nothing any more either, or as the newest of all it
    would take the higher plan's place.
    """

    keeper: str
    loser: str
    given_up: tuple[str, ...]


Undecided: TypeAlias = Literal["same-customer", "no-licence"]


def plan_merge(first: Side, second: Side, now: datetime) -> Merge | Undecided:
    """The licence with the higher plan stays; between equals the older one.

    A licence that gives no access stays only beside another such one. What was bought once is
    never given up: it is there again when the subscription that stays ends.
    """
    if first.purchases.customer == second.purchases.customer:
        return "same-customer"
    sides = []
    for side in (first, second):
        licence = decide_fulfilment(side.purchases, now, side.origin).licence
        if licence is None:
            return "no-licence"
        sides.append((_worth(licence), _age(side.purchases, now), side))
    (*_, keeper), (*_, loser) = sorted(sides, key=lambda one: one[:2], reverse=True)
    given_up = tuple(sorted(one.id for one in loser.purchases.subscriptions))
    return Merge(keeper.purchases.customer, loser.purchases.customer, given_up)


def _worth(licence: Licence) -> tuple[bool, int]:
    return licence.suspended is None, rank(licence.plan)


def _age(purchases: Purchases, now: datetime) -> tuple[float, str]:
    """Since what was first paid: a try that came to nothing gave no licence."""
    created = [
        *(one.created for one in purchases.subscriptions if one.paid_through is not None),
        *(one.created for one in purchases.payments if one.status == "paid"),
    ]
    oldest = min(created, default=now)
    return (now - oldest).total_seconds(), purchases.customer
