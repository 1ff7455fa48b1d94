"""Disputes: opened by a card or by the controls, closed by the controls."""

from __future__ import annotations

from typing import Literal, TypeAlias

from shimmy_sandbox.stripe_api.books import Books
from shimmy_sandbox.stripe_api.call import Call, paged_by_store
from shimmy_sandbox.stripe_api.shapes.payments import dispute
from shimmy_sandbox.stripe_api.store import Document, matching
from shimmy_sandbox.stripe_api.wire import invalid

Ending: TypeAlias = Literal["won", "lost", "warning_closed"]


def open_dispute(books: Books, charge: Document, reason: str, *, inquiry: bool) -> Document:
    """A complaint about ``charge``; 400 when there is one or nothing was paid."""
    if charge["disputed"] or charge["status"] != "succeeded":
        raise invalid(f"The charge {charge['id']} cannot be disputed")
    changes = {"disputed": True, "_inquired": inquiry, "_due": None}
    books.change(charge, changes, "charge.updated")
    made = books.add(dispute(books.now, charge, reason, inquiry=inquiry), "charge.dispute.created")
    if not inquiry:
        books.announce("charge.dispute.funds_withdrawn", made)
    return made


def dispute_due(books: Books, charge: Document) -> None:
    """The dispute that a test card brings with it."""
    reason, inquiry = charge["_dispute"]
    open_dispute(books, charge, reason, inquiry=inquiry)


def review(books: Books, made: Document) -> Document:
    """Evidence was handed in; the bank looks at it."""
    inquiry = made["status"].startswith("warning")
    status = "warning_under_review" if inquiry else "under_review"
    details = {
        **made["evidence_details"],
        "has_evidence": True,
        "submission_count": made["evidence_details"]["submission_count"] + 1,
        "submission_method": "manual",
    }
    changes = {"status": status, "evidence_details": details}
    return books.change(made, changes, "charge.dispute.updated")


def close(books: Books, made: Document, ending: Ending) -> Document:
    """The bank decided; an inquiry can only end as ``warning_closed``."""
    inquiry = made["status"].startswith("warning")
    if made["status"] in ("won", "lost", "warning_closed"):
        raise invalid(f"The dispute {made['id']} is closed already")
    if inquiry != (ending == "warning_closed"):
        raise invalid(f"The dispute {made['id']} cannot end as {ending}")
    closed = books.change(made, {"status": ending}, "charge.dispute.updated")
    if ending == "won":
        books.announce("charge.dispute.funds_reinstated", closed)
    books.announce("charge.dispute.closed", closed)
    return closed


def list_disputes(call: Call) -> Document:
    """Disputes, newest first."""
    return paged_by_store(call, "dispute", matching(**call.given("charge", "payment_intent")))


def show_dispute(call: Call) -> Document:
    """One dispute."""
    return call.named("dispute")
