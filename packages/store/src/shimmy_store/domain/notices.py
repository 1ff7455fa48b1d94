"""What a customer is told by mail, decided from what is so now and from what was last settled.

Each notice has a key that is the same whoever decides to send it, so that a message is kept once
however often a customer is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, TypeAlias

from shimmy_store.domain.catalog import PlanId
from shimmy_store.domain.fulfilment import Licence, licence_id
from shimmy_store.domain.purchases import Purchases, Subscription

NoticeKind: TypeAlias = Literal["licence", "renewal-failed", "plan-changed", "cancelled", "sign-in"]


@dataclass(frozen=True, slots=True)
class Notice:
    """``facts`` holds no licence key and no link: who sends it looks them up or makes them."""

    key: str
    kind: NoticeKind
    facts: Mapping[str, str] = field(default_factory=dict, repr=False)

    def written(self) -> str:
        """The facts as the outbox keeps them."""
        return json.dumps(dict(self.facts), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Told:
    """What was last settled: the plan then, and how often it had changed."""

    plan: PlanId | None
    changes: int


def decide_notices(
    purchases: Purchases, licence: Licence, told: Told, now: datetime
) -> tuple[Notice, ...]:
    """Everything to be told about this licence; most of it was told before, under the same keys."""
    return tuple(_notices(purchases, licence, told, now))


def _notices(purchases: Purchases, licence: Licence, told: Told, now: datetime) -> Iterator[Notice]:
    facts = {"licence": str(licence.id), "plan": licence.plan}
    if licence.suspended is None:
        yield Notice(_licence_key(licence), "licence", facts)
        if told.plan is not None and told.plan != licence.plan:
            key = f"plan-changed/{licence.id}/{told.changes + 1}"
            yield Notice(key, "plan-changed", {**facts, "before": told.plan})
        yield from _in_reserve(purchases, licence)
    source = next((one for one in purchases.subscriptions if one.id == licence.source), None)
    if licence.suspended in ("refunded", "disputed"):
        key = f"cancelled/{licence.source}/{licence.suspended}"
        if licence.suspended == "refunded" and licence.month is not None:
            # A later month may be refunded, too; a dispute is one, however many months it takes.
            key += f"/{licence.month[0].isoformat()}"
        yield Notice(key, "cancelled", {**facts, "reason": licence.suspended})
    elif source is not None:
        yield from _about_subscription(source, licence, facts, now)


def _licence_key(licence: Licence) -> str:
    """Once for each purchase that it rests on: whoever has paid hears what for."""
    first = licence_id(licence.source) == licence.id
    return f"licence/{licence.id}" if first else f"licence/{licence.id}/{licence.source}"


def _in_reserve(purchases: Purchases, licence: Licence) -> Iterator[Notice]:
    """A plan bought once beside a better subscription: whoever paid for it hears what it is for."""
    for one in purchases.payments:
        sound = one.status == "paid" and not one.reversal.takes_access
        if sound and one.id != licence.source:
            facts = {
                "licence": str(licence.id),
                "plan": one.plan,
                "before": licence.plan,
                "reason": "in-reserve",
            }
            yield Notice(f"licence/{licence.id}/{one.id}", "licence", facts)


def _about_subscription(
    source: Subscription, licence: Licence, facts: Mapping[str, str], now: datetime
) -> Iterator[Notice]:
    ends, through = _end(source), source.paid_through
    if ends is not None:
        told = {**facts, "reason": "cancelled", "ends": ends.isoformat()}
        yield Notice(f"cancelled/{source.id}/{ends.isoformat()}", "cancelled", told)
    # Owing for a change of plan within a paid month is no renewal that failed.
    owing = source.status in ("past_due", "unpaid") and (through is None or now >= through)
    # An end set for a later month does not save this one: access goes sooner than was told.
    if owing and through is not None and (ends is None or ends > through):
        month = through.isoformat()
        until = "" if licence.expiry is None else licence.expiry.isoformat()
        yield Notice(
            f"renewal-failed/{source.id}/{month}", "renewal-failed", {**facts, "until": until}
        )
        if licence.suspended == "unpaid":
            told = {**facts, "reason": "unpaid", "ends": until}
            yield Notice(f"cancelled/{source.id}/unpaid/{month}", "cancelled", told)


def _end(source: Subscription) -> datetime | None:
    """When it ends or ended; a subscription that goes on has none."""
    if source.ends is not None:
        return source.ends
    return source.paid_through if source.status == "canceled" else None
