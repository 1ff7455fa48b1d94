"""What a webhook says: look at this customer again. Nothing else in it is believed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

# The events that can change which licence a customer should have, or how to reach the customer.
HANDLED = frozenset(
    {
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "checkout.session.expired",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.deleted",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice.payment_action_required",
        "charge.refunded",
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.dispute.closed",
        "customer.updated",
        "customer.deleted",
    }
)


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """``customer`` is empty where the object names none: a dispute names its ``payment``."""

    id: str
    type: str
    created: datetime
    livemode: bool
    customer: str
    payment: str

    @property
    def handled(self) -> bool:
        """Whether this type concerns a licence."""
        return self.type in HANDLED


def read_event(body: bytes) -> WebhookEvent | None:
    """None for what is no event of Stripe's; the signature has been checked before."""
    try:
        event = json.loads(body.decode("utf-8"))
        shown = event["data"]["object"]
        return WebhookEvent(
            id=_text(event["id"]),
            type=_text(event["type"]),
            created=datetime.fromtimestamp(event["created"], UTC),
            livemode=_flag(event["livemode"]),
            customer=_customer(shown),
            payment=_reference(shown.get("payment_intent")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, OSError):
        return None


def _customer(shown: dict[str, Any]) -> str:
    if shown.get("object") == "customer":
        return _text(shown["id"])
    return _reference(shown.get("customer"))


def _reference(value: Any) -> str:
    """An id, or the id of an expanded object; empty for none."""
    if isinstance(value, dict):
        value = value.get("id")
    return "" if value is None else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    raise ValueError("no text")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("no flag")
