"""What support reads of a customer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from shimmy_ops.domain.customers.facts import BillingFacts, LicenceFacts, StoreFacts, shown
from shimmy_ops.use_cases.lookup_customer import LookedUp

_LAST = 5


def customer_document(found: LookedUp, show: Callable[[str], str]) -> dict[str, Any]:
    """For a program; ``show`` masks addresses or does not."""
    facts = asdict(found.facts)
    facts["addresses"] = [show(one) for one in found.facts.addresses]
    advice = [asdict(one) for one in found.advice]
    return {**facts, "healed": found.healed or None, "advice": advice}


def customer_lines(found: LookedUp, show: Callable[[str], str]) -> Iterator[str]:
    """For a person; others wrote much of it, so nothing in it steers a terminal."""
    return (shown(line) for line in _lines(found, show))


def _lines(found: LookedUp, show: Callable[[str], str]) -> Iterator[str]:
    facts = found.facts
    addresses = ", ".join(map(show, facts.addresses)) or "no address"
    yield f"{facts.customer or 'no customer'}  {addresses}"
    for licence in facts.licences:
        yield from _licence(licence)
    if not facts.licences:
        yield "  licence       none"
    yield from _billing(facts.billing)
    yield from _store(facts.store)
    if facts.merged:
        yield f"  merged into this one: {', '.join(facts.merged)}"
    if found.healed:
        yield f"  settled now: {found.healed}"
    for advice in found.advice:
        yield f"  → {advice.text} [{advice.code}]"
        if advice.command:
            yield f"    {advice.command}"


def _licence(one: LicenceFacts) -> Iterator[str]:
    access = "gives access" if one.access else "no access"
    yield f"  licence       {one.id}  {one.key}"
    until = f"until {one.expiry or 'ever'}"
    yield f"                plan {one.plan or '?'}, {one.state}, {access}, {until}"
    yield f"                {len(one.machines)} of {_limit(one.machine_limit)} machines"
    for machine in one.machines:
        yield f"                  {machine}"
    yield f"                {one.pages} of {_limit(one.page_limit)} pages"


def _limit(count: int | None) -> str:
    return "any number of" if count is None else str(count)


def _billing(billing: BillingFacts | None) -> Iterator[str]:
    if billing is None:
        yield "  Stripe        nothing"
        return
    if billing.deleted:
        yield "  Stripe        the customer was deleted"
    for one in billing.subscriptions:
        ends = f", ends {_date(one.ends)}" if one.ends else ""
        yield f"  subscription  {one.id}  {one.status}, period to {_date(one.period_end)}{ends}"
    for paid in billing.payments[:_LAST]:
        state = "paid" if paid.paid else f"failed {paid.failure}".strip()
        back = f", {_money(paid.refunded, paid.currency)} back" if paid.refunded else ""
        disputed = ", disputed" if paid.disputed else ""
        amount = _money(paid.amount, paid.currency)
        yield f"  payment       {_date(paid.created)}  {amount} {state}{back}{disputed}  {paid.id}"
    for line in billing.refunds[:_LAST]:
        yield f"  refund        {line}"
    for name, status in billing.disputes:
        yield f"  dispute       {name} {status}"
    for name in billing.open_invoices:
        yield f"  open invoice  {name}"


def _store(store: StoreFacts | None) -> Iterator[str]:
    if store is None:
        yield "  store         nothing"
        return
    merged = f", merged into {store.merged_into}" if store.merged_into else ""
    erased = f", erased {store.erased}" if store.erased else ""
    yield f"  store         plan {store.plan or 'none'}{merged}{erased}"
    yield f"                events: {_counts(store.events)}; mails: {_counts(store.messages)}"
    for name, error in (*store.parked_events, *store.parked_messages):
        yield f"                given up: {name} ({error or 'no error noted'})"
    for code, subject in store.alarms:
        yield f"                alarm: {code} {subject}"


def _counts(counts: Any) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"


def _date(stamp: int | None) -> str:
    return "?" if stamp is None else datetime.fromtimestamp(stamp, UTC).date().isoformat()


def _money(amount: int, currency: str) -> str:
    return f"{amount / 100:.2f} {currency.upper()}"
