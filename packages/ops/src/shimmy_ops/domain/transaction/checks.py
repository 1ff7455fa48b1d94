"""What each step must see: pure, over what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from shimmy_ops.domain.transaction.receipt import Facts, Outcome
from shimmy_ops.domain.transaction.sightings import (
    HeardCustomer,
    Remains,
    SeenCharge,
    SeenEvent,
    SeenLicence,
    SeenRefund,
    SeenSession,
    SeenSubscription,
    Terms,
)

GRACE = timedelta(days=3)
"""What the store adds to the month that was paid for, while a renewal may still come."""
_SETTLED = "done"
_FINE = 200
_WAITING_MAIL = ("waiting", "pending", "parked")
_RESULT = ("text_blocks", "layout", "visual", "interaction", "meta")
_GONE = ("licence-suspended", "licence-expired")


@dataclass(frozen=True, slots=True)
class Verdict:
    """``why`` says what is not as it should be, or not yet."""

    outcome: Outcome
    facts: Facts = field(default_factory=dict)
    why: str = ""


def held(**facts: Any) -> Verdict:
    """It is as it should be."""
    return Verdict("held", facts)


def waiting(why: str, **facts: Any) -> Verdict:
    """It may come to be so."""
    return Verdict("waiting", facts, why)


def failed(why: str, **facts: Any) -> Verdict:
    """It never will."""
    return Verdict("failed", facts, why)


def check_session(session: SeenSession, terms: Terms) -> Verdict:
    """A subscription for the plan's price, in the profile's mode, that nobody has paid yet."""
    facts = {
        "session": session.id,
        "amount": session.amount,
        "currency": session.currency,
        "livemode": session.livemode,
        "price": ",".join(str(one) for one in session.lookup_keys),
    }
    problems = []
    if session.livemode != terms.livemode:
        problems.append("it is of Stripe's other mode")
    if session.mode != "subscription":
        problems.append(f"it is for a {session.mode}")
    if (session.amount, session.currency) != (terms.amount, terms.currency):
        problems.append(f"it asks for {session.amount} {session.currency}")
    if session.lookup_keys != (terms.plan,):
        problems.append("its price is not the plan's")
    if problems:
        return failed(f"The checkout page is wrong: {', '.join(problems)}.", **facts)
    return held(**facts)


def check_paid(
    session: SeenSession, charges: Sequence[SeenCharge], terms: Terms, mailbox: str
) -> Verdict:
    """Exactly one payment, of the plan's price. ``mailbox`` is the operator's, where known."""
    if session.status == "expired":
        return failed("The checkout page has expired, and nobody paid.")
    if session.status != "complete" or not session.paid:
        return waiting("nobody has paid yet")
    paid = [one for one in charges if one.paid]
    if not paid:
        return waiting("Stripe does not show the payment yet")
    facts = {
        "customer": session.customer,
        "subscription": session.subscription,
        "charge": paid[0].id,
        "amount": paid[0].amount,
        "paid_at": paid[0].created.isoformat(),
        "own_mailbox": session.email.casefold() == mailbox.casefold() if mailbox else None,
    }
    if len(paid) > 1:
        return failed("The customer has more than one payment.", **facts)
    if (paid[0].amount, paid[0].currency) != (terms.amount, terms.currency):
        return failed("Another amount was paid than the plan's.", **facts)
    return held(**facts)


def check_delivery(
    event: SeenEvent | None, heard: HeardCustomer | None, paid_at: datetime
) -> Verdict:
    """Stripe told the store of the payment, and the store has settled it."""
    if event is None:
        return waiting("Stripe has no event of the payment yet")
    facts: dict[str, Any] = {"event": event.id}
    known = heard.events if heard else ()
    seen = next((one for one in known if one.id == event.id), None)
    if seen is None:
        return waiting("the store has not heard of the payment", **facts)
    facts["seconds_to_heard"] = _after(paid_at, seen.received)
    if seen.state == "parked":
        return failed("The store gave the event up: see `shimmy-store alarms`.", **facts)
    if seen.state != _SETTLED or seen.settled is None:
        return waiting("the store has not settled the payment", **facts)
    facts["seconds_to_settled"] = _after(paid_at, seen.settled)
    if event.pending:
        return waiting("Stripe still has deliveries of the event pending", **facts)
    return held(**facts)


def check_licence(
    licences: Sequence[SeenLicence], terms: Terms, bought: SeenSubscription, paid_at: datetime
) -> Verdict:
    """Exactly one licence of this customer, for what was paid and as long as it was paid."""
    if not licences:
        return waiting("Keygen has no licence of this customer yet")
    one = licences[0]
    facts = {
        "licence": one.id,
        "plan": one.policy_plan,
        "expiry": one.expiry.isoformat() if one.expiry else None,
        "seconds_to_licence": _after(paid_at, one.created),
    }
    if len(licences) > 1:
        return failed(f"Keygen has {len(licences)} licences of this customer.", **facts)
    problems = list(_licence_problems(one, terms, bought))
    if problems:
        return failed(f"The licence is wrong: {', '.join(problems)}.", **facts)
    return held(**facts)


def _licence_problems(one: SeenLicence, terms: Terms, bought: SeenSubscription) -> Sequence[str]:
    checks = {
        "its policy is another plan's": one.policy_plan == terms.plan,
        "its metadata names another plan": one.plan == terms.plan,
        "it rests on another purchase": one.source == bought.id,
        "its month is not the one that Stripe billed": one.month_end == bought.until,
        "its expiry is not the paid month and three days": one.expiry == bought.until + GRACE,
        "it is suspended": not one.suspended,
        "it lacks an entitlement": set(terms.entitlements) <= set(one.entitlements),
    }
    return [said for said, fine in checks.items() if not fine]


def check_mail(heard: HeardCustomer | None, paid_at: datetime) -> Verdict:
    """The mail that brings the licence went out."""
    mails = [one for one in (heard.messages if heard else ()) if one.kind == "licence"]
    sent = [one.sent for one in mails if one.sent is not None]
    if sent:
        return held(seconds_to_mail=_after(paid_at, min(sent)))
    if any(one.state == "parked" for one in mails):
        return failed("The store gave the licence's mail up: see `shimmy-store alarms`.")
    return waiting("the licence's mail has not gone out")


def check_portal(status: int) -> Verdict:
    """The customer's portal answers."""
    if status == _FINE:
        return held(status=status)
    return failed(f"Stripe's portal answers {status}.", status=status)


def check_machines(licences: Sequence[SeenLicence], wanted: int) -> Verdict:
    """So many machines use the customer's licences."""
    machines = [machine for one in licences for machine in one.machines]
    facts: dict[str, Any] = {"machines": len(machines)}
    if machines:
        facts["machine"] = machines[0]
    if len(machines) == wanted:
        return held(**facts)
    return failed(f"Keygen shows {len(machines)} machines, and {wanted} were expected.", **facts)


def check_analysis(result: Mapping[str, Any], *, livemode: bool) -> Verdict:
    """A whole result; where real money moved, of a real model."""
    meta = result.get("meta")
    model = meta.get("model") if isinstance(meta, Mapping) else None
    if not isinstance(meta, Mapping) or not isinstance(model, Mapping):
        return failed("The analysis gave no result.")
    missing = [name for name in _RESULT if name not in result]
    synthetic = bool(model.get("synthetic"))
    facts = {
        "model": str(model.get("family")),
        "synthetic": synthetic,
        "duration_ms": _duration(meta.get("duration_ms")),
    }
    if missing:
        return failed(f"The result lacks {', '.join(missing)}.", **facts)
    if synthetic and livemode:
        return failed("The model is a synthetic one.", **facts)
    return held(**facts)


def check_refund(charge: SeenCharge, refunds: Sequence[SeenRefund]) -> Verdict:
    """All of the money went back; ``missing`` is what nobody has sent back yet."""
    sound = [one for one in refunds if one.status not in ("failed", "canceled")]
    missing = charge.amount - sum(one.amount for one in sound)
    facts = {
        "refund": ",".join(one.id for one in sound),
        "amount": sum(one.amount for one in sound if one.status == "succeeded"),
        "missing": missing,
    }
    if charge.returned == charge.amount == facts["amount"]:
        return held(**facts)
    if missing > 0:
        return waiting("the money has not gone back", **facts)
    return waiting("Stripe has the refund under way", **facts)


def check_refunds(seen: Sequence[tuple[SeenCharge, Sequence[SeenRefund]]]) -> Verdict:
    """``check_refund`` of each payment, as one."""
    if not seen:
        return waiting("Stripe does not show the payment")
    verdicts = [check_refund(charge, refunds) for charge, refunds in seen]
    late = [one for one in verdicts if one.outcome != "held"]
    facts: Facts = {
        "refund": ",".join(str(one.facts["refund"]) for one in verdicts),
        "amount": sum(int(one.facts["amount"] or 0) for one in verdicts),
        "missing": sum(int(one.facts["missing"] or 0) for one in verdicts),
    }
    return replace(late[0] if late else verdicts[0], facts=facts)


def check_ended(subscription: SeenSubscription) -> Verdict:
    """Nothing is billed any more."""
    if subscription.status == "canceled":
        return held(status=subscription.status)
    return waiting(f"the subscription is {subscription.status}", status=subscription.status)


def check_suspended(licences: Sequence[SeenLicence], now: datetime) -> Verdict:
    """No licence of this customer gives access, whether or not there is one."""
    facts = {"licences": len(licences)}
    live = [one for one in licences if not one.suspended and not (one.expiry and one.expiry <= now)]
    if live:
        return waiting("the licence still gives access", **facts)
    return held(**facts)


def check_refusal(code: str) -> Verdict:
    """``code`` is what ``shimmy`` says with the licence's key now; empty where it goes on."""
    if code in _GONE:
        return held(refusal=code)
    if not code:
        return waiting("shimmy still accepts the licence")
    return failed(f"shimmy refuses for another reason: {code}.", refusal=code)


def check_nothing_left(
    remains: Remains, licences: Sequence[SeenLicence], heard: HeardCustomer | None, undelivered: int
) -> Verdict:
    """Neither at Stripe, nor at Keygen, nor in the store's ledger. ``undelivered`` are events."""
    events = [one.state for one in (heard.events if heard else ())]
    mails = [one for one in (heard.messages if heard else ()) if one.sent is None]
    left = {
        "subscriptions": remains.subscriptions,
        "invoices": remains.invoices,
        "balance": remains.balance,
        "machines": sum(len(one.machines) for one in licences),
        "undelivered": undelivered,
        "events": sum(one in ("pending", "parked") for one in events),
        "messages": sum(one.state in _WAITING_MAIL for one in mails),
    }
    parked = "parked" in events or any(one.state == "parked" for one in mails)
    named = ", ".join(f"{count} {name}" for name, count in left.items() if count)
    if not named:
        return held(**left)
    if remains.balance or parked:
        return failed(f"Something is left that does not go by itself: {named}.", **left)
    return waiting(f"something is left: {named}", **left)


def _duration(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _after(before: datetime, moment: datetime) -> float:
    """Seconds; Stripe's times are of whole seconds, and clocks differ by a little."""
    return round(max(0.0, (moment - before).total_seconds()), 3)
