"""The life of a subscription: opened, renewed, dunned, recovered, cancelled."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shimmy_sandbox.stripe_api import invoicing, item_lines
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.cards import Decline
from shimmy_sandbox.stripe_api.periods import period_end
from shimmy_sandbox.stripe_api.shapes import billing
from shimmy_sandbox.stripe_api.store import Document

LIVING = ("active", "past_due", "unpaid")
_UPDATED = "customer.subscription.updated"


def unsaved_subscription(
    books: Books, customer: str, bought: Sequence[tuple[Document, int]], fields: Document
) -> Document:
    """A running subscription to the recurring prices of ``bought`` (price, quantity)."""
    recurring = [(price, quantity) for price, quantity in bought if price["recurring"]]
    made = billing.subscription(books.now, customer, recurring[0][0]["currency"])
    cycle = recurring[0][0]["recurring"]
    end = period_end(books.now, cycle["interval"], cycle["interval_count"], books.now)
    items = [
        billing.subscription_item(books.now, made["id"], price, quantity, (books.now, end))
        for price, quantity in recurring
    ]
    made["items"] = {**made["items"], "data": items}
    return made | {**old_fields(items), **fields, "_due": end, "_pending": [], "_scheduled": None}


def old_fields(items: Sequence[Document]) -> Document:
    """``plan`` and ``quantity`` of a subscription with one item, as old code reads them."""
    single = items[0] if len(items) == 1 else None
    return {
        "plan": single["plan"] if single else None,
        "quantity": single["quantity"] if single else None,
    }


def first_lines(subscription: Document, bought: Sequence[tuple[Document, int]]) -> list[Document]:
    """The lines of the invoice that opens ``subscription``: also what is bought only once."""
    once = [one for one in bought if not one[0]["recurring"]]
    items = subscription["items"]["data"]
    return [
        *item_lines.one_time_lines(subscription["created"], once, subscription["id"]),
        *item_lines.period_lines(items),
    ]


def with_bill(subscription: Document, invoice: Document) -> Document:
    """``subscription`` as ``invoice``, its newest one, leaves it; not saved."""
    lines = invoicing.lines_of(invoice)
    items = item_lines.billed_by(subscription["items"]["data"], lines, invoice["id"])
    listed = {**subscription["items"], "data": items}
    return {**subscription, "items": listed, "latest_invoice": invoice["id"]}


def current_end(subscription: Document) -> int:
    """When the running period ends."""
    return int(min(item["current_period_end"] for item in subscription["items"]["data"]))


def with_items(subscription: Document, items: Sequence[Document]) -> Document:
    """The changes that put ``items`` on ``subscription`` and wait for their period's end."""
    listed = {**subscription["items"], "data": list(items)}
    end = min(item["current_period_end"] for item in items)
    return {"items": listed, **old_fields(items), "_due": _due(end, subscription["cancel_at"])}


def _due(end: int, cancel_at: int | None) -> int:
    return end if cancel_at is None else min(end, cancel_at)


def due(books: Books, subscription: Document) -> None:
    """What the calendar has for ``subscription`` now: its end or its next period."""
    if subscription["status"] not in LIVING:
        books.change(subscription, {"_due": None})
        return
    cancel_at = subscription["cancel_at"]
    if cancel_at is not None and cancel_at <= books.now:
        cancel(books, subscription, subscription["cancellation_details"]["reason"])
        return
    _renew(books, subscription)


def _renew(books: Books, subscription: Document) -> None:
    items = next_items(books.now, subscription)
    lines = [*subscription["_pending"], *item_lines.period_lines(items)]
    reason = "subscription_cycle"
    invoice = invoicing.unsaved_draft(books, subscription["customer"], reason, lines, subscription)
    running = subscription["status"] != "unpaid"
    finalises = books.now + invoicing.DRAFT_SECONDS if running else None
    # An invoice's own period looks back: it is the one that has just ended.
    previous = subscription["items"]["data"][0]
    invoice |= {
        "automatically_finalizes_at": finalises,
        "auto_advance": running,
        "period_start": previous["current_period_start"],
        "period_end": books.now,
        "_due": finalises,
    }
    invoicing.enter(books, invoice)
    renewed = {
        **subscription,
        **with_items(subscription, items),
        "_pending": [],
        "_scheduled": None,
        "schedule": None,
    }
    books.change(subscription, with_bill(renewed, invoice), _UPDATED)


def next_items(now: int, subscription: Document) -> list[Document]:
    """The items in the period that begins at ``now``, with what was scheduled for it."""
    scheduled = {change["id"]: change for change in subscription.get("_scheduled") or []}
    items = []
    for item in subscription["items"]["data"]:
        changed = {**item, **_prices(scheduled[item["id"]])} if item["id"] in scheduled else item
        cycle = changed["price"]["recurring"]
        anchor = subscription["billing_cycle_anchor"]
        end = period_end(anchor, cycle["interval"], cycle["interval_count"], now)
        items.append({**changed, "current_period_start": now, "current_period_end": end})
    return items


def _prices(change: Document) -> Document:
    price = change["price"]
    return {"price": price, "plan": billing.plan_of(price), "quantity": change["quantity"]}


def cancel(books: Books, subscription: Document, reason: str | None) -> Document:
    """The end: nothing is charged any more, open invoices are no longer collected."""
    for invoice in invoices_of(books, subscription):
        if invoice["status"] in ("draft", "open"):
            stopped = {"auto_advance": False, "next_payment_attempt": None, "_due": None}
            books.change(invoice, stopped)
    details = {**subscription["cancellation_details"], "reason": reason}
    changes = {
        "status": "canceled",
        "ended_at": books.now,
        "canceled_at": subscription["canceled_at"] or books.now,
        "cancellation_details": details,
        "schedule": None,
        "_scheduled": None,
        "_due": None,
    }
    ended = books.change(subscription, changes)
    books.announce("customer.subscription.deleted", ended)
    return ended


def invoices_of(books: Books, subscription: Document) -> list[Document]:
    """Every invoice of ``subscription``, newest first."""
    path = "parent__subscription_details__subscription"
    return books.store.find("invoice", **{path: subscription["id"]})


def subscription_of(books: Books, invoice: Document) -> Document | None:
    """The subscription an invoice is for."""
    details = (invoice["parent"] or {}).get("subscription_details")
    return books.store.get(details["subscription"]) if details else None


def invoice_due(books: Books, invoice: Document) -> None:
    """A draft is finalised and charged; an open invoice is tried again."""
    if invoice["status"] == "draft":
        invoice = invoicing.finalise(books, invoice)
    if invoice["status"] == "open":
        subscription = subscription_of(books, invoice)
        method = invoicing.default_method(books, subscription) if subscription else None
        pay(books, invoice, method, on_session=False)


def pay(
    books: Books, invoice: Document, method: Document | None, *, on_session: bool
) -> tuple[Document, Decline | None]:
    """Try to pay an open invoice; its subscription follows."""
    invoice, refused = invoicing.charge_invoice(books, invoice, method, on_session=on_session)
    subscription = subscription_of(books, invoice)
    if subscription is not None and subscription["status"] in LIVING:
        if refused is None:
            _recover(books, subscription)
        else:
            _dun(books, subscription, invoice)
    return invoice, refused


def _recover(books: Books, subscription: Document) -> None:
    open_ones = [one for one in invoices_of(books, subscription) if one["status"] == "open"]
    if not open_ones:
        books.change(subscription, {"status": "active"}, _UPDATED)


def _dun(books: Books, subscription: Document, invoice: Document) -> None:
    after = books.store.setting("after_retries", invoicing.AFTER_RETRIES)
    if invoice["next_payment_attempt"] is not None or after == "past_due":
        if subscription["status"] == "active":
            books.change(subscription, {"status": "past_due"}, _UPDATED)
    elif after == "unpaid":
        books.change(subscription, {"status": "unpaid"}, _UPDATED)
    else:
        cancel(books, subscription, "payment_failed")


def set_cancellation(books: Books, subscription: Document, changes: dict[str, Any]) -> Document:
    """``changes`` of ``cancel_at`` and its like, with the moments that follow from them."""
    cancel_at = changes.get("cancel_at", subscription["cancel_at"])
    details = {**subscription["cancellation_details"], **changes.get("cancellation_details", {})}
    asked = cancel_at is not None
    details["reason"] = "cancellation_requested" if asked else None
    changed = {
        **changes,
        "cancellation_details": details,
        "canceled_at": (subscription["canceled_at"] or books.now) if asked else None,
        "_due": _due(current_end(subscription), cancel_at),
    }
    return books.change(subscription, changed, _UPDATED)


def pause(books: Books, subscription: Document) -> Document:
    """Nothing is billed until it is resumed; announced twice, as Stripe does.

    The rest of the period is lost: neither a cancellation nor a change gives it back.
    """
    reason = {"subscription": {"type": "pause_requested"}, "transitioned_at": books.now}
    paused = {"paused": {**reason, "type": "subscription"}}
    items = [{**item, "_billed": None} for item in subscription["items"]["data"]]
    changes = {
        "items": {**subscription["items"], "data": items},
        "status": "paused",
        "status_details": paused,
        "_due": None,
    }
    subscription = books.change(subscription, changes, _UPDATED)
    books.announce("customer.subscription.paused", subscription)
    return subscription


def resume(books: Books, subscription: Document) -> Document:
    """A new period from now, invoiced and charged at once."""
    fresh = {**subscription, "billing_cycle_anchor": books.now}
    items = next_items(books.now, fresh)
    lines = [*subscription["_pending"], *item_lines.period_lines(items)]
    reason, customer = "subscription_update", subscription["customer"]
    invoice = invoicing.draft(books, customer, reason, lines, subscription)
    running = {**fresh, **with_items(subscription, items), "status": "active", "_pending": []}
    resumed = books.change(subscription, with_bill(running, invoice), _UPDATED)
    books.announce("customer.subscription.resumed", resumed)
    invoice = invoicing.finalise(books, invoice)
    if invoice["status"] == "open":
        pay(books, invoice, invoicing.default_method(books, resumed), on_session=False)
    return books.get("subscription", subscription["id"])
