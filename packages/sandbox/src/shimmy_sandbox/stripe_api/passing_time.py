"""What happens by itself when time passes: everything due, in its order, at its own moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from shimmy_sandbox.stripe_api import disputes, lifecycle, purchase, refunds
from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call
from shimmy_sandbox.stripe_api.shapes.sessions import test_clock
from shimmy_sandbox.stripe_api.store import Document
from shimmy_sandbox.stripe_api.wire import invalid

_MOST_AT_ONCE = 10_000
"""Whoever moves the clock by a century gets the rest with the next request."""
_CLOCK_LIMIT_SECONDS = 2 * 366 * 86400


def _expire(books: Books, session: Document) -> None:
    expired = books.change(session, {"status": "expired", "url": None, "_due": None})
    books.announce("checkout.session.expired", expired)


_DUE: Mapping[str, Callable[[Books, Document], None]] = {
    "checkout.session": _expire,
    "subscription": lifecycle.due,
    "invoice": lifecycle.invoice_due,
    "payment_intent": purchase.payment_settled,
    "charge": disputes.dispute_due,
    "refund": refunds.refund_due,
}


def run_due(books: Books, clock: str | None = None) -> int:
    """Do what is due by ``books.now`` on ``clock`` (None: the account's); how much that was."""
    quiet = replace(books, request_id=None, idempotency_key=None)
    done = 0
    while done < _MOST_AT_ONCE and (document := books.store.next_due(books.now, clock)):
        _DUE[document["object"]](quiet.at(document["_due"]), document)
        done += 1
    return done


def run_everything(books: Books) -> int:
    """Do what is due on the account's clock, and on every test clock where it stands."""
    done = run_due(books)
    sql = "SELECT DISTINCT clock FROM objects WHERE due IS NOT NULL AND clock IS NOT NULL"
    for (identifier,) in books.store.rows(sql):
        clock = books.store.get(identifier)
        if clock is not None:
            done += run_due(books.at(clock["frozen_time"]), identifier)
    return done


def create_clock(call: Call) -> Document:
    """A clock that stands still at ``frozen_time``; customers made with it live by it."""
    made = test_clock(call.books.now, call.params["frozen_time"])
    if "customer" in call.params:
        raise invalid("A customer gets its test clock when it is created", "customer")
    made["name"] = call.params.get("name")
    return call.books.add(made, "test_helpers.test_clock.created")


def show_clock(call: Call) -> Document:
    """One test clock."""
    return call.named("test_helpers.test_clock")


def advance_clock(call: Call) -> Document:
    """Move a test clock forward; everything due on the way has happened when this returns."""
    clock, target = call.named("test_helpers.test_clock"), call.params["frozen_time"]
    if not clock["frozen_time"] < target <= clock["frozen_time"] + _CLOCK_LIMIT_SECONDS:
        message = "A test clock moves forward, and at most two years at a time"
        raise invalid(message, "frozen_time")
    books = call.books
    moving = books.change(clock, {"status": "advancing"})
    books.announce("test_helpers.test_clock.advancing", moving)
    run_due(books.at(target), clock["id"])
    ready = books.change(moving, {"status": "ready", "frozen_time": target})
    books.announce("test_helpers.test_clock.ready", ready)
    return ready


def delete_clock(call: Call) -> Document:
    """Delete a clock and every customer that lived by it."""
    clock = call.named("test_helpers.test_clock")
    call.books.store.execute("DELETE FROM objects WHERE clock = ? AND kind != 'event'", clock["id"])
    call.books.store.execute("DELETE FROM objects WHERE id = ?", clock["id"])
    return {"id": clock["id"], "object": "test_helpers.test_clock", "deleted": True}
