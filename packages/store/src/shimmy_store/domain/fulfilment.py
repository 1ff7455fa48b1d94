"""Which licence should a customer have? Decided from what Stripe says now, never from an event.

So any order and any repetition of events, and a crash at any line, end in the same state: whoever
looks again decides the same. The licence's id comes from the first purchase that was ever paid, so
that making it twice is making it once.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from shimmy_store.domain.catalog import PlanId, rank
from shimmy_store.domain.purchases import Payment, Purchases, Subscription

# A late renewal, a weekend, a bank: none of these locks a customer out.
GRACE = timedelta(days=3)
NAMESPACE = uuid.UUID("7f0a3d9e-57a1-5d0e-9b1c-6a4f0c2f6d11")
_BILLING = frozenset({"trialing", "active", "past_due"})
# Stripe takes, or may yet take, money for these.
COLLECTING = _BILLING | {"unpaid", "paused"}

Reason: TypeAlias = Literal["refunded", "disputed", "unpaid", "ended", "merged"]
AlarmCode: TypeAlias = Literal[
    "double-purchase",
    "partial-refund",
    "dispute-open",
    "dispute-lost",
    "event-parked",
    "message-parked",
    "reversed-still-billed",
    "erased-still-billed",
    "several-plans",
    "unpaid-change",
    "merge-credit",
    "price-differs",
    "wrong-mode",
    "credentials-refused",
    "work-late",
]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Something a person should look at; ``subject`` is the purchase's id."""

    code: AlarmCode
    subject: str


@dataclass(frozen=True, slots=True)
class Licence:
    """The licence a customer should have.

    ``source`` is the purchase it rests on; ``expiry`` None is never; ``month`` bounds the pages
    counted now, None where no month was paid for (a plan bought once counts by the calendar
    elsewhere). ``suspended`` names the reason, None while it gives access.
    """

    id: uuid.UUID
    plan: PlanId
    source: str
    expiry: datetime | None
    month: tuple[datetime, datetime] | None
    suspended: Reason | None


@dataclass(frozen=True, slots=True)
class Decision:
    """``licence`` None: nothing was ever paid. ``cancel``: subscriptions to end now.

    What is left of them is credited, but for those in ``uncredited``, whose money went back.
    ``origin`` is the purchase that the licence's id comes from, to be kept on record. Time alone
    may change the decision, at ``look_again`` for the first time; no event comes then.
    """

    licence: Licence | None
    cancel: tuple[str, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    origin: str | None = None
    uncredited: frozenset[str] = frozenset()
    look_again: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Claim:
    """One purchase as a reason to have a licence."""

    purchase: Subscription | Payment
    expiry: datetime | None
    refused: Reason | None

    @property
    def order(self) -> tuple[datetime, str]:
        """Oldest first; ids tell purchases of one second apart."""
        return self.purchase.created, self.purchase.id


def decide_fulfilment(purchases: Purchases, now: datetime, origin: str | None = None) -> Decision:
    """The licence of this customer at ``now``.

    ``origin`` is the purchase whose id the licence was made under, where that is on record: after
    a merge of two customers it may be another one's.
    """
    claims = sorted(_claims(purchases, now), key=lambda one: one.order)
    given_up = tuple(_given_up(purchases))
    uncredited = frozenset(one.id for one in purchases.subscriptions if not _is_earned(one, now))
    # The credit lies with a customer who has no subscription left: a person pays it back.
    credited = tuple(Alarm("merge-credit", one) for one in given_up if one not in uncredited)
    alarms = (*credited, *_alarms(purchases))
    if not claims:
        return Decision(None, given_up, alarms, uncredited=uncredited)
    origin = origin or claims[0].purchase.id
    identity = licence_id(origin)
    granting = [one for one in claims if one.refused is None]
    # Where nothing gives access the newest tells why; no more than one goes on being collected.
    chosen = _choose(granting) if granting else claims[-1]
    doubled = tuple(_paid_in_vain(purchases, chosen))
    doubles = tuple(Alarm("double-purchase", one) for one in doubled)
    return Decision(
        _licence(identity, chosen),
        (*doubled, *given_up),
        (*doubles, *alarms),
        origin,
        uncredited,
        _next_boundary(purchases, now),
    )


def _is_earned(one: Subscription, now: datetime) -> bool:
    """Whether what is left of it was paid and none of that went back.

    Stripe credits the rest of a month in either case.
    """
    kept = one.reversal.refunded == "nothing" and not one.reversal.takes_access and not one.owed
    return kept and one.paid_through is not None and one.paid_through > now


def _next_boundary(purchases: Purchases, now: datetime) -> datetime | None:
    """When a month, its days of grace or a subscription ends next."""
    moments = (
        moment
        for one in _kept(purchases)
        if one.paid_through is not None
        for moment in (one.paid_through, one.paid_through + GRACE, one.ends)
        if moment is not None and moment > now
    )
    return min(moments, default=None)


def licence_id(origin: str) -> uuid.UUID:
    """The licence's id at Keygen: the same for the same purchase, so that it is made once."""
    return uuid.uuid5(NAMESPACE, origin)


def _claims(purchases: Purchases, now: datetime) -> Iterator[_Claim]:
    for subscription in _kept(purchases):
        if subscription.paid_through is not None:
            yield _claim_of_subscription(subscription, subscription.paid_through, now)
    for payment in purchases.payments:
        if payment.status == "paid":
            yield _Claim(payment, None, _reversed(payment))


def _kept(purchases: Purchases) -> Iterator[Subscription]:
    return (one for one in purchases.subscriptions if one.id not in purchases.given_up)


def _given_up(purchases: Purchases) -> Iterator[str]:
    """What a merge ended and Stripe still collects for."""
    for one in purchases.subscriptions:
        if one.id in purchases.given_up and one.status in COLLECTING:
            yield one.id


def _claim_of_subscription(one: Subscription, paid_through: datetime, now: datetime) -> _Claim:
    """Good for the month paid for; three days longer while a renewal may still come."""
    renews = one.status in _BILLING and (one.ends is None or one.ends > paid_through)
    expiry = paid_through + GRACE if renews else paid_through
    refused = _reversed(one)
    if refused is None and now >= expiry:
        refused = "unpaid" if one.status in ("past_due", "unpaid") else "ended"
    return _Claim(one, expiry, refused)


def _reversed(one: Subscription | Payment) -> Reason | None:
    if not one.reversal.takes_access:
        return None
    return "refunded" if one.reversal.refunded == "fully" else "disputed"


def _choose(granting: list[_Claim]) -> _Claim:
    """The newest subscription is what is wanted now; a plan bought once stays if it is better.

    Also where the newest one is cancelled and only its month is left. An older one never comes
    back before that: what was left of it may have been credited.
    """
    subscriptions = [one for one in granting if isinstance(one.purchase, Subscription)]
    kept = [one for one in granting if isinstance(one.purchase, Payment)]
    return max((*subscriptions[-1:], *kept), key=lambda one: (rank(one.purchase.plan), one.order))


def _paid_in_vain(purchases: Purchases, chosen: _Claim) -> Iterator[str]:
    """Subscriptions that would go on taking money beside the purchase the licence rests on.

    Those out of grace, too: Stripe may still collect what they owe. Beside one that only runs out,
    the newest of them is what the licence will rest on next.
    """
    collecting = sorted(
        # Never paid is no second purchase yet: one that is billed by hand waits for its money.
        (one for one in _kept(purchases) if one.status in COLLECTING and one.paid_through),
        key=lambda one: (one.created, one.id),
    )
    # What was refused, runs out or is over needs nobody's money: the newest goes on.
    over = chosen.refused is not None or _runs_out(chosen)
    needed = collecting[-1].id if collecting and over else chosen.purchase.id
    return (one.id for one in collecting if one.id != needed)


def _runs_out(one: _Claim) -> bool:
    purchase = one.purchase
    return isinstance(purchase, Subscription) and purchase.status not in _BILLING


def _licence(identity: uuid.UUID, claim: _Claim) -> Licence:
    purchase, month = claim.purchase, None
    if isinstance(purchase, Subscription) and purchase.paid_from and purchase.paid_through:
        month = (purchase.paid_from, purchase.paid_through)
    return Licence(identity, purchase.plan, purchase.id, claim.expiry, month, claim.refused)


def _bought_again(purchases: Purchases) -> Iterator[Alarm]:
    """Plans bought once and paid twice: only a person can pay one back."""
    sound = [
        one
        for one in sorted(purchases.payments, key=lambda one: (one.created, one.id))
        if one.status == "paid" and not one.reversal.takes_access
    ]
    return (Alarm("double-purchase", one.id) for one in sound[1:])


def _alarms(purchases: Purchases) -> Iterator[Alarm]:
    yield from _bought_again(purchases)
    bought: tuple[Subscription | Payment, ...] = (*purchases.subscriptions, *purchases.payments)
    for one in bought:
        partial = one.reversal.partial
        if one.reversal.refunded == "partly" or partial:
            yield from (Alarm("partial-refund", name) for name in partial or (one.id,))
        if one.reversal.dispute in ("open", "lost"):
            code: AlarmCode = "dispute-open" if one.reversal.dispute == "open" else "dispute-lost"
            yield from (Alarm(code, name) for name in one.reversal.disputes or (one.id,))
    for subscription in _kept(purchases):
        yield from _about(subscription)


def _about(one: Subscription) -> Iterator[Alarm]:
    """What is odd about a subscription that goes on."""
    if one.status not in COLLECTING:
        return
    lost = one.reversal.refunded == "fully" or one.reversal.dispute == "lost"
    if lost and one.ends is None:
        # The customer has no access and is charged again: a person ends it, or asks.
        yield Alarm("reversed-still-billed", one.id)
    if one.owed:
        yield Alarm("unpaid-change", one.owed)
    if one.several:
        yield Alarm("several-plans", one.id)
