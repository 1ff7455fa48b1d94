"""What a webhook says: look at this customer again. Nothing else in it is believed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shimmy_store.domain.json_text import parse_json
from shimmy_store.errors import CatalogError


@dataclass(frozen=True, slots=True)
class WebhookEvent:
    """``customer`` is empty where the object names none: a dispute names its ``payment``."""

    id: str
    type: str
    created: datetime
    livemode: bool
    customer: str
    payment: str


def parse_handled(data: Any) -> frozenset[str]:
    """The types that can change which licence a customer should have, or how to reach them.

    From ``contracts/webhook_events.json``; the operator's tools subscribe to the same ones. Raises
    CatalogError for anything else.
    """
    listed = data.get("events") if isinstance(data, dict) else None
    if (
        not isinstance(listed, list)
        or not listed
        or not all(isinstance(one, str) for one in listed)
    ):
        raise CatalogError(
            "events-invalid",
            "contracts/webhook_events.json lists no events: reinstall shimmy-store.",
        )
    return frozenset(listed)


def read_event(body: bytes) -> WebhookEvent | None:
    """None for what is no event of Stripe's; the signature has been checked before."""
    try:
        return event_of(parse_json(body.decode("utf-8")))
    except ValueError:
        return None


def event_of(event: Any) -> WebhookEvent | None:
    """The same of an event as Stripe's API lists it, already parsed."""
    try:
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
    # JSON can spell NUL and halves of characters, which no ledger can write.
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise ValueError("no text")


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("no flag")
