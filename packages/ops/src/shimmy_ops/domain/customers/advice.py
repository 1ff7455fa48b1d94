"""What support should do next about a customer: decided from what is known, and nothing else."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from shimmy_ops.domain.customers.facts import (
    ENDED,
    BillingFacts,
    CustomerFacts,
    LicenceFacts,
    StoreFacts,
)

_OPEN_DISPUTES = frozenset({"needs_response", "under_review"})
_OWING = frozenset({"past_due", "unpaid", "incomplete"})


@dataclass(frozen=True, slots=True)
class Advice:
    """``code`` is stable; ``command`` may be empty."""

    code: str
    text: str
    command: str = ""


def advise(facts: CustomerFacts, store_url: str) -> tuple[Advice, ...]:
    """The most urgent first; one line that says so where nothing is wrong."""
    gone = _gone(facts)
    if gone:
        return gone
    found = [*_missing(facts), *_refused(facts, store_url), *_limits(facts, store_url)]
    found += [*_store(facts.store), *_money(facts)]
    return tuple(found) or (
        Advice("nothing-wrong", "Nothing is wrong that can be seen from here."),
    )


def _gone(facts: CustomerFacts) -> tuple[Advice, ...]:
    store = facts.store
    if store is not None and store.merged_into:
        text = f"The store made one customer of this one and {store.merged_into}: look there."
        command = f"shimmy-ops support lookup {store.merged_into}"
        return (Advice("merged", text, command),)
    if store is not None and store.erased:
        living = any(one.access for one in facts.licences) or _runs(facts.billing)
        if not living:
            return (Advice("erased", f"Erased at the customer's wish on {store.erased}."),)
        command = f"shimmy-ops erase-customer {facts.customer} --end-subscriptions"
        return (Advice("erased-not-ended", "Erased, and something still runs: end it.", command),)
    return ()


def _runs(billing: BillingFacts | None) -> bool:
    return billing is not None and any(one.status not in ENDED for one in billing.subscriptions)


def _missing(facts: CustomerFacts) -> Iterator[Advice]:
    """What was paid and not given."""
    billing, heal = facts.billing, f"shimmy-ops support lookup {facts.customer} --heal"
    if not facts.customer:
        yield Advice("licence-of-nobody", "The licence names no customer: it was made by hand.")
        return
    if billing is None or (facts.store is not None and facts.store.erased):
        return
    if billing.pays and not facts.licences:
        yield Advice("paid-no-licence", "Paid, and there is no licence: settle it now.", heal)
    elif billing.pays and not any(one.access for one in facts.licences):
        if not _explained(billing):
            text = "Paid, and no licence gives access: settle it now."
            yield Advice("paid-no-access", text, heal)
    elif facts.store is None and not billing.deleted:
        text = "Stripe knows this customer and the store does not: an event may be lost."
        yield Advice("not-in-store", text, heal)
    if len(facts.licences) > 1:
        yield Advice("several-licences", "One customer has several licences: one is enough.", heal)


def _explained(billing: BillingFacts) -> bool:
    """Whether money that went back, or may, is why there is no access."""
    back = any(one.paid and one.refunded >= one.amount for one in billing.payments[:1])
    return back or any(status in (*_OPEN_DISPUTES, "lost") for _, status in billing.disputes)


def _refused(facts: CustomerFacts, store_url: str) -> Iterator[Advice]:
    """Why there is no access, where there is a licence."""
    billing = facts.billing
    if billing is None or not facts.licences or any(one.access for one in facts.licences):
        return
    statuses = [status for _, status in billing.disputes]
    owing = [one for one in billing.subscriptions if one.status in _OWING]
    newest = next((one for one in billing.payments if one.paid), None)
    if any(status in _OPEN_DISPUTES for status in statuses):
        text = "No access: the payment is disputed. Answer the dispute at Stripe; won, it returns."
        yield Advice("disputed", text)
    elif "lost" in statuses:
        yield Advice("dispute-lost", "No access: a dispute was lost. A new purchase gives access.")
    elif newest is not None and newest.refunded >= newest.amount:
        text = "No access: all that was paid went back. A new purchase gives access."
        yield Advice("refunded", text, f"{store_url}/pricing")
    elif owing:
        text = (
            "No access: a renewal is not paid. The customer pays or changes the card in the portal."
        )
        yield Advice("unpaid", text, f"{store_url}/view-license")
    elif not _runs(billing) and billing.subscriptions:
        text = "No access: the subscription has ended. A new one gives the same licence again."
        yield Advice("ended", text, f"{store_url}/pricing")


def _limits(facts: CustomerFacts, store_url: str) -> Iterator[Advice]:
    for one in facts.licences:
        if not one.access:
            continue
        if _is_full(len(one.machines), one.machine_limit):
            text = (
                f"All {one.machine_limit} machines are taken: the customer frees one on the page, "
                "or with `shimmy license deactivate`."
            )
            yield Advice("machines-full", text, f"{store_url}/view-license")
        if _is_full(one.pages, one.page_limit):
            yield _pages_used(one, store_url)


def _pages_used(one: LicenceFacts, store_url: str) -> Advice:
    text = (
        f"All {one.page_limit} pages of the month are used: more come with the next month, or with "
        "a higher plan."
    )
    return Advice("pages-used", text, f"{store_url}/pricing")


def _is_full(used: int, limit: int | None) -> bool:
    return limit is not None and used >= limit


def _store(store: StoreFacts | None) -> Iterator[Advice]:
    if store is None:
        return
    for name, error in store.parked_messages:
        text = f"A mail was given up ({error or 'no error noted'}): mend the cause, then try again."
        yield Advice("mail-parked", text, f"shimmy-store retry {shlex.quote(name)}")
    for name, error in store.parked_events:
        text = (
            f"An event was given up ({error or 'no error noted'}): mend the cause, then try again."
        )
        yield Advice("event-parked", text, f"shimmy-store retry {shlex.quote(name)}")
    if store.events.get("pending"):
        yield Advice("event-waits", "An event waits to be settled: look again in a minute.")
    if store.messages.get("waiting"):
        yield Advice("mail-waits", "A mail waits to be sent: look again in a minute.")
    for code, subject in store.alarms:
        if code not in ("message-parked", "event-parked"):
            done = f"shimmy-store alarms --done {code} {shlex.quote(subject)}"
            yield Advice("alarm", f"Alarm {code}: docs/store.md says what to do; then:", done)


def _money(facts: CustomerFacts) -> Iterator[Advice]:
    billing = facts.billing
    if billing is None:
        return
    if billing.deleted and any(one.access for one in facts.licences):
        text = "Stripe has deleted the customer and a licence still gives access."
        yield Advice("deleted-with-access", text)
    for name in billing.open_invoices:
        yield Advice("invoice-open", f"Invoice {name} is open: collect or void it at Stripe.")
    if billing.payments and not billing.payments[0].paid:
        reason = billing.payments[0].failure or "no reason given"
        text = f"The last payment failed ({reason}): another card in the portal helps."
        yield Advice("payment-failed", text)
