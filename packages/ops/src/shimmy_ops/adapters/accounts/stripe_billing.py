"""The ``Billing`` port over Stripe's own client."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import stripe

from shimmy_ops.adapters.accounts.stripe_errors import stripe_errors
from shimmy_ops.domain.steps import BillingFound, Object, PriceOf, Step
from shimmy_ops.ports.billing import Made

_PAGE = 100
_KEYS_AT_ONCE = 10
# Stripe leaves the portal's products out unless they are asked for.
_PORTAL_PRODUCTS = "data.features.subscription_update.products"


class StripeBilling:
    """Remembers from ``read`` and from what it makes which price a plan has."""

    def __init__(self, client: stripe.StripeClient) -> None:
        v1 = client.v1
        self._services: Mapping[str, Any] = {
            "product": v1.products,
            "price": v1.prices,
            "portal": v1.billing_portal.configurations,
            "endpoint": v1.webhook_endpoints,
        }
        self._prices: dict[str, str] = {}

    def read(self, plans: Sequence[str]) -> BillingFound:
        with stripe_errors():
            products = self._all("product", {"ids": list(plans)})
            prices = self._read_prices(plans, products)
            self._prices = {
                one["lookup_key"]: one["id"] for one in prices if one["lookup_key"] in plans
            }
            portals = self._all("portal", {"expand": [_PORTAL_PRODUCTS]})
            return BillingFound(products, prices, portals, self._all("endpoint", {}))

    def _read_prices(self, plans: Sequence[str], products: Sequence[Object]) -> tuple[Object, ...]:
        """Those of our products, and whatever holds a lookup key of ours."""
        found: dict[str, Object] = {}
        for start in range(0, len(plans), _KEYS_AT_ONCE):
            keys = list(plans[start : start + _KEYS_AT_ONCE])
            for one in self._all("price", {"lookup_keys": keys}):
                found[one["id"]] = one
        for product in products:
            for one in self._all("price", {"product": product["id"], "active": True}):
                found[one["id"]] = one
        return tuple(found.values())

    def _all(self, kind: str, asked: Mapping[str, Any]) -> tuple[Object, ...]:
        listed = self._services[kind].list({**asked, "limit": _PAGE})
        return tuple(one.to_dict() for one in listed.auto_paging_iter())

    def perform(self, step: Step, attempt: str) -> Made:
        with stripe_errors():
            service = self._services[step.kind]
            sent = _sent(self._resolved(step.attributes))
            options = {"idempotency_key": _key(step, sent, attempt)}
            if step.kind == "endpoint" and step.action == "retire":
                service.delete(step.id, {}, options)
                return Made(step.id)
            if step.action != "create":
                service.update(step.id, sent, options)
                return Made(step.id)
            named = {"id": step.key} if step.kind == "product" else {}
            made = service.create({**sent, **named}, options).to_dict()
            if step.kind == "price":
                self._prices[step.key] = made["id"]
            return Made(made["id"], made.get("secret") or "")

    def _resolved(self, value: Any) -> Any:
        if isinstance(value, PriceOf):
            return self._prices[value.plan]
        if isinstance(value, Mapping):
            return {name: self._resolved(below) for name, below in value.items()}
        if isinstance(value, list):
            return [self._resolved(below) for below in value]
        return value


def _sent(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """An endpoint shows its status and is told whether it is disabled; nothing empty is sent."""
    sent = {name: value for name, value in attributes.items() if value != {}}
    if "status" in sent:
        sent["disabled"] = sent.pop("status") != "enabled"
    return sent


def _key(step: Step, sent: Mapping[str, Any], attempt: str) -> str:
    """The same for the same write from the same state, and within ``attempt``."""
    before = [[change.path, change.before] for change in step.changes]
    said = [attempt, step.action, step.kind, step.key, step.id, sent, before, step.besides]
    text = json.dumps(said, sort_keys=True, default=str)
    return f"shimmy-ops-{hashlib.sha256(text.encode()).hexdigest()}"
