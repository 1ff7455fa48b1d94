"""The ``Till`` port over Stripe's own client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import stripe

from shimmy_ops.adapters.accounts.stripe_errors import stripe_errors
from shimmy_ops.domain.steps import MARK
from shimmy_ops.domain.transaction.sightings import (
    Remains,
    SeenCharge,
    SeenEvent,
    SeenRefund,
    SeenSession,
    SeenSubscription,
)

_PAGE = 100
_COMPLETED = "checkout.session.completed"
# Stripe takes, or may yet take, money for these.
_COLLECTING = frozenset({"trialing", "active", "past_due", "unpaid", "paused", "incomplete"})
_OWED = frozenset({"draft", "open", "uncollectible"})
_NOT_FOUND = 404


class StripeTill:
    """``return_url`` is where customers come back to from the portal."""

    def __init__(self, client: stripe.StripeClient, return_url: str) -> None:
        self._v1: Any = client.v1
        self._return_url = return_url

    def session(self, session: str) -> SeenSession:
        with stripe_errors():
            asked = {"expand": ["line_items"]}
            return _session(self._v1.checkout.sessions.retrieve(session, asked).to_dict())

    def expire(self, session: str) -> None:
        with stripe_errors():
            self._v1.checkout.sessions.expire(session)

    def charges(self, customer: str) -> Sequence[SeenCharge]:
        with stripe_errors():
            return [_charge(one) for one in _all(self._v1.charges, {"customer": customer})]

    def subscription(self, subscription: str) -> SeenSubscription:
        with stripe_errors():
            found = self._v1.subscriptions.retrieve(subscription).to_dict()
            ends = [item["current_period_end"] for item in found["items"]["data"]]
            return SeenSubscription(found["id"], found["status"], _time(max(ends)))

    def completion(self, session: SeenSession) -> SeenEvent | None:
        since = {"gte": int(session.created.timestamp())}
        with stripe_errors():
            for one in _all(self._v1.events, {"type": _COMPLETED, "created": since}):
                if one["data"]["object"]["id"] == session.id:
                    return SeenEvent(one["id"], _time(one["created"]), one["pending_webhooks"])
        return None

    def undelivered(self, customer: str, since: datetime) -> int:
        asked = {"created": {"gte": int(since.timestamp())}, "delivery_success": False}
        with stripe_errors():
            return sum(
                one["pending_webhooks"] > 0 and _about(one["data"]["object"]) == customer
                for one in _all(self._v1.events, asked)
            )

    def refunds(self, charge: str) -> Sequence[SeenRefund]:
        with stripe_errors():
            found = _all(self._v1.refunds, {"charge": charge})
            return [SeenRefund(one["id"], one["status"], one["amount"]) for one in found]

    def refund(self, charge: str, attempt: int) -> None:
        asked = {"charge": charge, "metadata": {"shimmy": MARK}}
        with stripe_errors():
            key = f"shimmy-ops-refund-{charge}-{attempt}"
            self._v1.refunds.create(asked, {"idempotency_key": key})

    def end(self, subscription: str) -> None:
        with stripe_errors():
            try:
                self._v1.subscriptions.cancel(
                    subscription, {"prorate": False, "invoice_now": False}
                )
            except stripe.InvalidRequestError as error:
                # One that has ended is not found by this call any more.
                if error.http_status != _NOT_FOUND:
                    raise

    def remains(self, customer: str) -> Remains:
        with stripe_errors():
            of = {"customer": customer}
            subscriptions = _all(self._v1.subscriptions, {**of, "status": "all"})
            invoices = _all(self._v1.invoices, of)
            found = self._v1.customers.retrieve(customer).to_dict()
            return Remains(
                sum(one["status"] in _COLLECTING for one in subscriptions),
                sum(one["status"] in _OWED for one in invoices),
                int(found.get("balance") or 0),
            )

    def open_portal(self, customer: str) -> str:
        with stripe_errors():
            listed = _all(self._v1.billing_portal.configurations, {"active": True})
            ours = [one["id"] for one in listed if one["metadata"].get("shimmy") == MARK]
            asked = {"customer": customer, "return_url": self._return_url}
            if ours:
                asked["configuration"] = ours[0]
            return str(self._v1.billing_portal.sessions.create(asked).to_dict()["url"])


def _all(resource: Any, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = resource.list({**asked, "limit": _PAGE})
    return [one.to_dict() for one in listed.auto_paging_iter()]


def _session(found: Mapping[str, Any]) -> SeenSession:
    prices = [one["price"] for one in found["line_items"]["data"]]
    return SeenSession(
        found["id"],
        found["status"],
        found["payment_status"] == "paid",
        found["mode"],
        found["amount_total"],
        found["currency"],
        found["livemode"],
        _time(found["created"]),
        tuple(one["lookup_key"] for one in prices),
        _id(found["customer"]),
        _id(found["subscription"]),
        found["url"] or "",
        (found["customer_details"] or {}).get("email") or "",
    )


def _charge(found: Mapping[str, Any]) -> SeenCharge:
    return SeenCharge(
        found["id"],
        found["amount"],
        found["amount_refunded"],
        found["currency"],
        found["paid"],
        _time(found["created"]),
    )


def _about(thing: Mapping[str, Any]) -> str:
    """The customer that an event's object is, or belongs to."""
    return str(thing["id"]) if thing["object"] == "customer" else _id(thing.get("customer"))


def _id(value: Any) -> str:
    """Of something that may be shown whole, as its id or not at all."""
    return str(value["id"]) if isinstance(value, Mapping) else str(value or "")


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
