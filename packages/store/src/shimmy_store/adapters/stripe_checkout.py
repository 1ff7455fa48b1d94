"""The ``Checkout`` port over Stripe's own client."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import stripe

from shimmy_store.adapters.stripe_errors import NOT_FOUND, stripe_errors
from shimmy_store.domain.catalog import PlanId
from shimmy_store.domain.stripe_purchases import plan_of
from shimmy_store.ports.checkout import (
    CheckoutSession,
    Order,
    PlanChange,
    Price,
    SessionState,
)

_EXPANDED = ["payment_intent.latest_charge", "invoice"]


class StripeCheckout:
    """``portal`` is the portal's configuration, empty for the account's default."""

    def __init__(self, client: stripe.StripeClient, portal: str = "") -> None:
        self._v1 = client.v1
        self._portal = portal

    async def price(self, plan: PlanId) -> Price | None:
        with stripe_errors():
            listed = await self._v1.prices.list_async(
                {"lookup_keys": [plan], "active": True, "limit": 1}
            )
            for one in listed.to_dict()["data"]:
                return Price(
                    one["id"],
                    one["unit_amount"] or 0,
                    one["currency"],
                    _interval(one["recurring"]),
                    one["livemode"],
                )
            return None

    async def begin(self, order: Order) -> str:
        with stripe_errors():
            made = await self._v1.checkout.sessions.create_async(
                _session(order),  # type: ignore[arg-type]
                {"idempotency_key": f"checkout-{order.attempt}"},
            )
            return str(made.to_dict()["url"])

    async def find(self, session: str) -> CheckoutSession | None:
        with stripe_errors():
            try:
                found = await self._v1.checkout.sessions.retrieve_async(
                    session, {"expand": _EXPANDED}
                )
            except stripe.InvalidRequestError as error:
                if error.http_status != NOT_FOUND:
                    raise
                return None
            return _read(found.to_dict())

    async def open_portal(
        self, customer: str, return_url: str, change: PlanChange | None = None
    ) -> str:
        with stripe_errors():
            asked: dict[str, Any] = {"customer": customer, "return_url": return_url}
            if self._portal:
                asked["configuration"] = self._portal
            if change is not None:
                asked["flow_data"] = await self._flow(change, return_url)
            made = await self._v1.billing_portal.sessions.create_async(asked)  # type: ignore[arg-type]
            return str(made.to_dict()["url"])

    async def _flow(self, change: PlanChange, return_url: str) -> dict[str, Any]:
        held = await self._v1.subscriptions.retrieve_async(change.subscription)
        items = held.to_dict()["items"]["data"]
        # Beside a plan there may be something that an operator added.
        item = next((one for one in items if plan_of(one["price"])), items[0])
        after = {"type": "redirect", "redirect": {"return_url": return_url}}
        if item["price"]["id"] == change.price:
            # Nothing to confirm: a change to what is there already is refused.
            wanted: dict[str, Any] = {"subscription": change.subscription}
            return {
                "type": "subscription_update",
                "subscription_update": wanted,
                "after_completion": after,
            }
        changed = [{"id": item["id"], "price": change.price, "quantity": 1}]
        wanted = {"subscription": change.subscription, "items": changed}
        return {
            "type": "subscription_update_confirm",
            "subscription_update_confirm": wanted,
            "after_completion": after,
        }

    async def reach(self) -> None:
        with stripe_errors():
            await self._v1.prices.list_async({"limit": 1})


def _interval(recurring: Mapping[str, Any] | None) -> str:
    if recurring is None:
        return "once"
    count = recurring["interval_count"]
    return str(recurring["interval"]) if count == 1 else f"{count} {recurring['interval']}"


def _session(order: Order) -> dict[str, Any]:
    plan, metadata = order.plan, {"plan": order.plan.id}
    asked: dict[str, Any] = {
        "line_items": [{"price": order.price, "quantity": 1}],
        "success_url": order.success_url,
        "cancel_url": order.cancel_url,
        "metadata": metadata,
        "allowed_payment_method_types": list(plan.payment_methods),
        "client_reference_id": order.browser or order.attempt,
    }
    if order.customer:
        asked["customer"] = order.customer
    if plan.interval == "once":
        asked["mode"] = "payment"
        # Fulfilment knows from this which plan a payment is for.
        asked["payment_intent_data"] = {"metadata": metadata}
        if not order.customer:
            # Otherwise the portal has no customer to show.
            asked["customer_creation"] = "always"
        if "wechat_pay" in plan.payment_methods:
            asked["payment_method_options"] = {"wechat_pay": {"client": "web"}}
    else:
        asked["mode"] = "subscription"
        asked["subscription_data"] = {"metadata": metadata}
    return asked


def _read(found: Mapping[str, Any]) -> CheckoutSession:
    customer = found["customer"] or ""
    if isinstance(customer, Mapping):
        customer = customer["id"]
    paid = found["status"] == "complete" and found["payment_status"] != "unpaid"
    return CheckoutSession(
        found["id"],
        _state(found, paid=paid),
        customer,
        found["livemode"],
        _paid_at(found, paid=paid),
        found["client_reference_id"] or "",
    )


def _state(found: Mapping[str, Any], *, paid: bool) -> SessionState:
    if paid:
        return "paid"
    match found["status"]:
        case "complete":
            return "processing"
        case "expired":
            return "expired"
        case _:
            return "open"


def _paid_at(found: Mapping[str, Any], *, paid: bool) -> datetime | None:
    """When the money came; the session itself only says when it was begun."""
    if not paid:
        return None
    charge = (found.get("payment_intent") or {}).get("latest_charge") or {}
    invoice = found.get("invoice") or {}
    at = charge.get("created") or (invoice.get("status_transitions") or {}).get("paid_at")
    return datetime.fromtimestamp(at or found["created"], UTC)
