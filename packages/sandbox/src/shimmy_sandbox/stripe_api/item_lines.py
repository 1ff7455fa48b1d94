"""Lines of subscription items: a period, the rest of one, what is given back; and their order.

``_made`` of a line is when it was entered as a pending item; a line for a period has none.
``_debit`` is the price whose time it charges. An item keeps its newest debit in ``_billed``:
flexible billing gives back of what was billed, and not of what the item costs now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shimmy_sandbox.stripe_api.periods import share
from shimmy_sandbox.stripe_api.shapes import billing
from shimmy_sandbox.stripe_api.store import Document


def period_lines(items: Sequence[Document]) -> list[Document]:
    """One line an item for its current period."""
    lines = []
    for item in items:
        period = (item["current_period_start"], item["current_period_end"])
        parent = billing.item_parent(item, proration=False)
        words = f"{item['quantity']} x {item['price']['product']}"
        line = billing.invoice_line(
            _cost(item), item["price"], item["quantity"], period, words, parent
        )
        lines.append({**line, "_debit": item["price"], "_item_created": item["created"]})
    return lines


def one_time_lines(
    now: int, bought: Iterable[tuple[Document, int]], subscription: str | None
) -> list[Document]:
    """What is bought only once: invoice items of their own, entered ``now``."""
    lines = []
    for price, quantity in bought:
        words = price["nickname"] or "One-time purchase"
        parent = billing.one_time_parent(subscription)
        amount = price["unit_amount"] * quantity
        line = billing.invoice_line(amount, price, quantity, (now, now), words, parent)
        lines.append({**line, "_made": now})
    return lines


def remaining(now: int, when: int, item: Document) -> list[Document]:
    """The rest of the period from ``when`` on, charged; a pending item, entered ``now``."""
    start, end = item["current_period_start"], item["current_period_end"]
    amount = share(_cost(item), max(end - when, 0), end - start)
    line = _proration("Remaining time on", amount, item["price"], item["quantity"], (when, end))
    line["parent"] = billing.item_parent(item, proration=True)
    return [{**line, "_made": now, "_debit": item["price"]}]


def given_back(now: int, when: int, item: Document, *, flexible: bool) -> list[Document]:
    """What ``item`` was billed for after ``when``; nothing for what it never was billed for.

    Whether the bill was paid does not matter: Stripe takes it that it will be.
    """
    # Classic billing goes by what the item costs now; so does an item of older state files.
    billed = item.get("_billed", _as_it_is(item)) if flexible else _as_it_is(item)
    if billed is None:
        return []
    start, end = billed["period"]
    amount = -share(billed["amount"], max(end - max(when, start), 0), end - start)
    line = _proration("Unused time on", amount, billed["price"], billed["quantity"], (when, end))
    credited = None
    if billed["invoice"] is not None:
        credited = {"invoice": billed["invoice"], "invoice_line_items": [billed["line"]]}
    line["parent"] = billing.item_parent(item, proration=True, credited=credited)
    return [{**line, "_made": now}]


def _cost(item: Document) -> int:
    return int(item["price"]["unit_amount"] * item["quantity"])


def _as_it_is(item: Document) -> Document:
    period = [item["current_period_start"], item["current_period_end"]]
    billed = {"amount": _cost(item), "price": item["price"], "quantity": item["quantity"]}
    return {**billed, "period": period, "invoice": None, "line": None}


def _proration(
    words: str, amount: int, price: Document, quantity: int, period: tuple[int, int]
) -> Document:
    described = f"{words} {quantity} x {price['product']}"
    line = billing.invoice_line(amount, price, quantity, period, described)
    return {**line, "discountable": False}


def billed_by(
    items: Sequence[Document], lines: Sequence[Document], invoice: str | None
) -> list[Document]:
    """``items`` with the newest debit among ``lines``, which ``invoice`` bills (None: later)."""
    debits = [line for line in lines if line.get("_debit")]
    # A period begins after everything that was pending, and of that the newest comes first.
    debits.sort(key=lambda line: "_made" in line)
    newest = {item_of(line): line for line in reversed(debits)}
    return [
        {**item, "_billed": _debit(newest[item["id"]], invoice)} if item["id"] in newest else item
        for item in items
    ]


def _debit(line: Document, invoice: str | None) -> Document:
    return {
        "amount": line["amount"],
        "invoice": invoice,
        "line": line["id"],
        "period": [line["period"]["start"], line["period"]["end"]],
        "price": line["_debit"],
        "quantity": line["quantity"],
    }


def item_of(line: Document) -> str | None:
    """The subscription item a line is for."""
    details = (line["parent"] or {}).get("subscription_item_details")
    return str(details["subscription_item"]) if details else None


def in_order(lines: Sequence[Document]) -> list[Document]:
    """As Stripe sorts them: pending items, then subscription items, the newest first in both.

    What was made at the same moment stays as it is.
    """
    pending = [line for line in lines if "_made" in line]
    periods = [line for line in lines if "_made" not in line]
    pending.sort(key=lambda line: -int(line["_made"]))
    periods.sort(key=lambda line: -int(line.get("_item_created", 0)))
    return [*pending, *periods]
