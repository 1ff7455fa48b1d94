"""Another price or quantity: prorated, billed at once, later or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shimmy_sandbox.stripe_api import invoicing, lifecycle
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.cards import Decline
from shimmy_sandbox.stripe_api.identity import new_id
from shimmy_sandbox.stripe_api.periods import period_end, share
from shimmy_sandbox.stripe_api.shapes import billing
from shimmy_sandbox.stripe_api.store import Document
from shimmy_sandbox.stripe_api.wire import invalid, no_such


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


def planned(now: int, subscription: Document, wanted: Sequence[Document]) -> PlanChange:
    """What ``wanted`` makes of ``subscription`` at ``now``; nothing is changed."""
    kept = {item["id"]: item for item in subscription["items"]["data"]}
    old = subscription["items"]["data"][0]
    cycle = wanted[0]["price"]["recurring"]
    restarts = any(cycle[name] != old["price"]["recurring"][name] for name in _CYCLE)
    period = (old["current_period_start"], old["current_period_end"])
    if restarts:
        period = (now, period_end(now, cycle["interval"], cycle["interval_count"], now))
    items, lines = [], []
    for change in wanted:
        item = _changed(now, subscription, kept.get(change["id"]), change, period)
        items.append(item)
        before = kept.get(change["id"])
        if before is None or restarts or _differs(before, item):
            lines += _credit(now, before) if before else []
            lines += lifecycle.cycle_lines([item]) if restarts else _remaining(now, item)
    for identifier, item in kept.items():
        if identifier not in {change["id"] for change in wanted}:
            lines += _credit(now, item)
    return PlanChange(items, lines, restarts)


_CYCLE = ("interval", "interval_count")


def close_account(
    books: Books, subscription: Document, *, prorate: bool, invoice_now: bool
) -> Document:
    """What is still to be settled of a subscription that ends now; the subscription without it.

    ``prorate`` gives back what was paid and not used, ``invoice_now`` settles it and what waited
    in a last invoice; without the latter both wait for the customer's next one. With neither,
    nothing is settled any more.
    """
    lines = list(subscription["_pending"])
    if prorate and subscription["status"] == "active":
        items = subscription["items"]["data"]
        lines += [line for item in items for line in _credit(books.now, item)]
    changes: Document = {"_pending": []}
    if lines and invoice_now:
        changes["latest_invoice"] = _last_invoice(books, subscription, lines)["id"]
    elif lines and prorate:
        invoicing.wait(books, subscription, lines)
    return books.change(subscription, changes)


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
        return {**fresh, "id": change["id"]}
    kept = {name: before[name] for name in ("id", "created", "metadata")}
    return {**fresh, **kept}


def _differs(before: Document, after: Document) -> bool:
    same_price = before["price"]["id"] == after["price"]["id"]
    return not same_price or before["quantity"] != after["quantity"]


def _credit(now: int, item: Document) -> list[Document]:
    return [_proration(now, item, -1, "Unused time on")]


def _remaining(now: int, item: Document) -> list[Document]:
    return [_proration(now, item, 1, "Remaining time on")]


def _proration(now: int, item: Document, sign: int, words: str) -> Document:
    start, end = item["current_period_start"], item["current_period_end"]
    amount = item["price"]["unit_amount"] * item["quantity"]
    return billing.invoice_line(
        sign * share(amount, max(end - now, 0), end - start),
        item["price"],
        item["quantity"],
        (now, end),
        f"{words} {item['quantity']} x {item['price']['product']}",
        billing.item_parent(item, proration=True),
    )


def change_now(
    books: Books, subscription: Document, wanted: Sequence[Document], behaviour: str, when: int
) -> tuple[Document, Decline | None]:
    """``wanted`` from now on; the subscription, and why its invoice was not paid.

    ``behaviour`` is proration_behavior, ``when`` the moment prorations count from.
    """
    change = planned(when, subscription, wanted)
    lines = list(change.lines)
    if behaviour == "none":
        lines = lifecycle.cycle_lines(change.items) if change.restarts else []
    now_billed = behaviour == "always_invoice" or change.restarts
    changes: Document = {
        **lifecycle.with_items(subscription, change.items),
        "_scheduled": None,
        "schedule": None,
    }
    if change.restarts:
        changes["billing_cycle_anchor"] = books.now
    if not (now_billed and lines):
        changes["_pending"] = [*subscription["_pending"], *lines]
        return books.change(subscription, changes, "customer.subscription.updated"), None
    lines = [*subscription["_pending"], *lines]
    customer, reason = subscription["customer"], "subscription_update"
    invoice = invoicing.draft(books, customer, reason, lines, subscription)
    changes |= {"_pending": [], "latest_invoice": invoice["id"]}
    subscription = books.change(subscription, changes, "customer.subscription.updated")
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
    return books.change(subscription, changes, "customer.subscription.updated")


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
