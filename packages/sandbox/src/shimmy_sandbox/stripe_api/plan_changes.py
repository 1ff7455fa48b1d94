"""Another price or quantity: prorated, billed at once, later or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shimmy_sandbox.stripe_api import invoicing, item_lines, lifecycle
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.cards import Decline
from shimmy_sandbox.stripe_api.identity import new_id
from shimmy_sandbox.stripe_api.periods import period_end
from shimmy_sandbox.stripe_api.shapes import billing
from shimmy_sandbox.stripe_api.store import Document
from shimmy_sandbox.stripe_api.wire import invalid, no_such

_UPDATED = "customer.subscription.updated"


@dataclass(frozen=True, slots=True)
class PlanChange:
    """What a change makes of a subscription.

    ``items``      as they are afterwards
    ``lines``      the proration, and the new period where a new one begins
    ``restarts``   the billing cycle begins anew, now
    """

    items: Sequence[Document]
    lines: Sequence[Document]
    restarts: bool


def wanted_items(
    books: Books, subscription: Document, given: Sequence[Mapping[str, Any]], param: str
) -> list[Document]:
    """``items`` of a request as changes: id, price, quantity of every item there will be."""
    kept = {item["id"]: item for item in subscription["items"]["data"]}
    wanted = {
        identifier: {"id": identifier, "price": item["price"], "quantity": item["quantity"]}
        for identifier, item in kept.items()
    }
    for place, asked in enumerate(given):
        path = f"{param}[{place}]"
        identifier = asked.get("id")
        if identifier is None:
            identifier = new_id("si")
            wanted[identifier] = {"id": identifier, "price": None, "quantity": 1}
        elif identifier not in kept:
            raise no_such("subscription item", identifier, f"{path}[id]", 400)
        if asked.get("deleted"):
            del wanted[identifier]
            continue
        if asked.get("price"):
            wanted[identifier]["price"] = _recurring_price(books, asked["price"], path)
        if asked.get("quantity") is not None:
            wanted[identifier]["quantity"] = asked["quantity"]
        if wanted[identifier]["price"] is None:
            raise invalid(f"{path} names no price", f"{path}[price]", "parameter_missing")
    _check_one_cycle(list(wanted.values()), param)
    return list(wanted.values())


def _recurring_price(books: Books, identifier: str, path: str) -> Document:
    price = books.get("price", identifier, f"{path}[price]")
    if not price["recurring"] or not price["active"]:
        why = "is not active" if price["recurring"] else "is not recurring"
        raise invalid(f"The price {identifier} {why}", f"{path}[price]")
    return price


def _check_one_cycle(wanted: Sequence[Document], param: str) -> None:
    if not wanted:
        raise invalid("A subscription must have at least one item", param)
    cycles = {
        (item["price"]["recurring"]["interval"], item["price"]["recurring"]["interval_count"])
        for item in wanted
    }
    if len(cycles) > 1:
        raise invalid("Items of different intervals are not simulated by this sandbox", param)


def planned(
    now: int,
    subscription: Document,
    wanted: Sequence[Document],
    *,
    when: int | None = None,
    anew: bool = False,
) -> PlanChange:
    """What ``wanted`` makes of ``subscription`` at ``now``; nothing is changed.

    ``when`` is what prorations count from (None: now), ``anew`` begins a new billing cycle even
    if no interval changes.
    """
    when = now if when is None else when
    kept = {item["id"]: item for item in subscription["items"]["data"]}
    old = subscription["items"]["data"][0]
    cycle = wanted[0]["price"]["recurring"]
    restarts = anew or any(cycle[name] != old["price"]["recurring"][name] for name in _CYCLE)
    period = (old["current_period_start"], old["current_period_end"])
    if restarts:
        period = (now, period_end(now, cycle["interval"], cycle["interval_count"], now))
    flexible = subscription["billing_mode"]["type"] == "flexible"
    items, lines = [], []
    for change in wanted:
        before = kept.pop(change["id"], None)
        item = _changed(now, subscription, before, change, period)
        items.append(item)
        if before is not None and (restarts or _differs(before, item)):
            lines += item_lines.given_back(now, when, before, flexible=flexible)
        if restarts:
            lines += item_lines.period_lines([item])
        elif before is None or _differs(before, item):
            lines += item_lines.remaining(now, when, item)
    for item in kept.values():
        lines += item_lines.given_back(now, when, item, flexible=flexible)
    return PlanChange(items, item_lines.in_order(lines), restarts)


_CYCLE = ("interval", "interval_count")


def close_account(
    books: Books, subscription: Document, *, prorate: bool, invoice_now: bool
) -> Document:
    """What is still to be settled of a subscription that ends now; the subscription without it.

    ``prorate`` gives back what was billed and not used, paid or not; ``invoice_now`` settles it
    and what waited in a last invoice; without the latter both wait for the customer's next one.
    With neither, nothing is settled any more.
    """
    lines = list(subscription["_pending"])
    if prorate:
        lines = [*_unused(books.now, subscription), *lines]
    changes: Document = {"_pending": []}
    if lines and invoice_now:
        changes["latest_invoice"] = _last_invoice(books, subscription, lines)["id"]
    elif lines and prorate:
        invoicing.wait(books, subscription, lines)
    return books.change(subscription, changes)


def _unused(now: int, subscription: Document) -> list[Document]:
    flexible = subscription["billing_mode"]["type"] == "flexible"
    if subscription["status"] == "paused":
        return []
    return [
        line
        for item in subscription["items"]["data"]
        for line in item_lines.given_back(now, now, item, flexible=flexible)
    ]


def _last_invoice(books: Books, subscription: Document, lines: Sequence[Document]) -> Document:
    customer, reason = subscription["customer"], "subscription_update"
    drafted = invoicing.draft(books, customer, reason, lines, subscription)
    invoice = invoicing.finalise(books, drafted)
    if invoice["status"] == "open":
        # A refusal changes nothing about the end: the invoice stays open and is not tried again.
        method = invoicing.default_method(books, subscription)
        invoice, _ = invoicing.charge_invoice(books, invoice, method, on_session=False)
    return invoice


def _changed(
    now: int,
    subscription: Document,
    before: Document | None,
    change: Document,
    period: tuple[int, int],
) -> Document:
    fresh = billing.subscription_item(
        now, subscription["id"], change["price"], change["quantity"], period
    )
    if before is None:
        return {**fresh, "id": change["id"], "_billed": None}
    names = ("id", "created", "metadata", "_billed")
    return {**fresh, **{name: before[name] for name in names if name in before}}


def _differs(before: Document, after: Document) -> bool:
    same_price = before["price"]["id"] == after["price"]["id"]
    return not same_price or before["quantity"] != after["quantity"]


def change_now(
    books: Books, subscription: Document, change: PlanChange, behaviour: str
) -> tuple[Document, Decline | None]:
    """``change`` from now on; the subscription, and why its invoice was not paid.

    ``behaviour`` is proration_behavior. What cannot be paid is changed all the same: the
    subscription is past due then, and its invoice open.
    """
    lines = list(change.lines)
    if behaviour == "none":
        lines = item_lines.period_lines(change.items) if change.restarts else []
    now_billed = behaviour == "always_invoice" or change.restarts
    changed: Document = {
        **subscription,
        **lifecycle.with_items(subscription, change.items),
        "_scheduled": None,
        "schedule": None,
    }
    if change.restarts:
        changed["billing_cycle_anchor"] = books.now
    if not (now_billed and lines):
        items = item_lines.billed_by(change.items, lines, None)
        changed["items"] = {**changed["items"], "data": items}
        changed["_pending"] = [*lines, *subscription["_pending"]]
        return books.change(subscription, changed, _UPDATED), None
    lines = [*lines, *subscription["_pending"]]
    customer, reason = subscription["customer"], "subscription_update"
    invoice = invoicing.draft(books, customer, reason, lines, subscription)
    changed["_pending"] = []
    subscription = books.change(subscription, lifecycle.with_bill(changed, invoice), _UPDATED)
    invoice = invoicing.finalise(books, invoice)
    refused = None
    if invoice["status"] == "open":
        method = invoicing.default_method(books, subscription)
        _, refused = lifecycle.pay(books, invoice, method, on_session=False)
    return books.get("subscription", subscription["id"]), refused


def change_at_period_end(
    books: Books, subscription: Document, wanted: Sequence[Document]
) -> Document:
    """``wanted`` from the next period on; until then only ``schedule`` says so."""
    changes = {"schedule": new_id("sub_sched"), "_scheduled": list(wanted)}
    return books.change(subscription, changes, _UPDATED)


def one_item(subscription: Document, param: str) -> Document:
    """``subscription`` when the portal can change its plan: with several items it can not."""
    if len(subscription["items"]["data"]) > 1:
        message = "A subscription with several items cannot be updated in the portal"
        raise invalid(message, param)
    return subscription


def lowers(subscription: Document, wanted: Sequence[Document]) -> bool:
    """Whether ``wanted`` costs less a period than what there is."""

    def total(items: Sequence[Document]) -> int:
        return sum(item["price"]["unit_amount"] * item["quantity"] for item in items)

    return total(wanted) < total(subscription["items"]["data"])


def shortens(subscription: Document, wanted: Sequence[Document]) -> bool:
    """Whether ``wanted`` is billed more often than what there is."""

    def length(items: Sequence[Document]) -> int:
        cycle = items[0]["price"]["recurring"]
        return period_end(0, cycle["interval"], cycle["interval_count"], 0)

    return length(wanted) < length(subscription["items"]["data"])
