"""The ``MoneyBooks`` port over Stripe's own client."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import stripe

from shimmy_ops.adapters.accounts.stripe_errors import stripe_errors
from shimmy_ops.domain.monitoring.accounts import Money, StripeLists, read_money
from shimmy_ops.ports.monitoring import EndpointFound

_PAGE = 100
# Which payments an invoice took is shown only to who asks.
_PAYMENTS = "data.latest_invoice.payments"


class StripeMoney:
    """``plans`` are the ids of ours; ``events`` the types that the store wants to hear of."""

    def __init__(
        self, client: stripe.StripeClient, plans: Sequence[str], events: Sequence[str]
    ) -> None:
        self._v1 = client.v1
        self._plans = plans
        self._events = events

    def money(self) -> Money:
        v1 = self._v1
        with stripe_errors():
            lists = StripeLists(
                _all(v1.subscriptions, {"status": "all", "expand": [_PAYMENTS]}),
                _all(v1.checkout.sessions, {"status": "complete"}),
                _all(v1.charges),
                _all(v1.refunds),
                _all(v1.disputes),
                _all(v1.invoices, {"status": "open"}),
            )
            return read_money(lists, self._plans)

    def endpoint(self, url: str) -> EndpointFound:
        with stripe_errors():
            ours = [one for one in _all(self._v1.webhook_endpoints) if one["url"] == url]
            if not ours:
                return EndpointFound("missing", ())
            enabled = any(one["status"] == "enabled" for one in ours)
            waiting = _all(self._v1.events, {"delivery_success": False})
            return EndpointFound(
                "enabled" if enabled else "disabled",
                [
                    datetime.fromtimestamp(one["created"], UTC)
                    for one in waiting
                    if one["type"] in self._events and one["pending_webhooks"]
                ],
            )


def _all(service: Any, asked: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    listed = service.list({**(asked or {}), "limit": _PAGE})
    return [one.to_dict() for one in listed.auto_paging_iter()]
