"""What a shop sets up at Stripe before it sells: plans, portal, and where events are delivered.

Everything goes over the wire with the sandbox's key, as a real shop would do it with Stripe; only
the secret of an endpoint that exists already is read through the sandbox's controls.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

import httpx

from shimmy_sandbox.stripe_api.contract import read_events
from shimmy_sandbox.stripe_api.forms import form_pairs
from shimmy_sandbox.stripe_api.identity import API_KEY

PORTAL_RETURN_PATH: Final = "/view-license"
WEBHOOK_PATH: Final = "/stripe-webhook"
EVENTS: Final = read_events()
"""What the store listens to: whatever can change a licence or the way to its owner."""
_REASONS = (
    "customer_service",
    "low_quality",
    "missing_features",
    "other",
    "switched_service",
    "too_complex",
    "too_expensive",
    "unused",
)
_KEYS_AT_ONCE = 10
"""Prices can be asked for by so many lookup keys at a time."""


class Located(Protocol):
    """Whatever says where a Stripe is: a running server, or its address."""

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""


@dataclass(frozen=True, slots=True)
class Stocked:
    """What a store must know of the shop.

    ``prices``          the id of each plan's price
    ``configuration``   the portal's
    ``endpoint``        where events go
    ``webhook_secret``  what they are signed with
    """

    prices: Mapping[str, str]
    configuration: str
    endpoint: str
    webhook_secret: str


class StockingError(Exception):
    """Stripe refused; the message says what and why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def stock_stripe(
    server: Located, plans: Sequence[Mapping[str, Any]], store_url: str, currency: str = "usd"
) -> Stocked:
    """Bring products, prices, portal and webhook endpoint to what ``plans`` say.

    Doing it again changes nothing. A changed amount makes a new price, which takes over the plan's
    lookup key; whoever pays the old one goes on paying it. ``plans`` and ``currency`` are those of
    ``contracts/plans.json``.
    """
    base = store_url.rstrip("/")
    with _Account(server) as account:
        for plan in plans:
            held = account.find("products", plan["id"])
            account.ensure("products", held, _product(plan), plan["id"])
        prices = _stock_prices(account, plans, currency)
        monthly = {plan["id"]: prices[plan["id"]] for plan in plans if _monthly(plan)}
        configuration = _stock_portal(account, monthly, f"{base}{PORTAL_RETURN_PATH}")
        endpoint, secret = _stock_endpoint(account, f"{base}{WEBHOOK_PATH}")
    return Stocked(prices, configuration, endpoint, secret)


def _product(plan: Mapping[str, Any]) -> dict[str, Any]:
    name = f"Shimmy Vision {plan['name']}"
    return {"name": name, "active": True, "metadata": {"plan": plan["id"]}}


def _monthly(plan: Mapping[str, Any]) -> bool:
    return bool(plan["interval"] == "month")


def _stock_prices(
    account: _Account, plans: Sequence[Mapping[str, Any]], currency: str
) -> dict[str, str]:
    ids = [str(plan["id"]) for plan in plans]
    found: dict[str, Any] = {}
    for start in range(0, len(ids), _KEYS_AT_ONCE):
        asked = {"lookup_keys": ids[start : start + _KEYS_AT_ONCE], "active": True, "limit": 100}
        found |= {one["lookup_key"]: one for one in account.ask("GET", "prices", asked)["data"]}
    return {plan["id"]: _stock_price(account, plan, currency, found) for plan in plans}


def _stock_price(
    account: _Account, plan: Mapping[str, Any], currency: str, found: Mapping[str, Any]
) -> str:
    wanted: dict[str, Any] = {
        "product": plan["id"],
        "currency": currency,
        "unit_amount": plan["unit_amount"],
    }
    cycle = {"interval": "month", "interval_count": 1} if _monthly(plan) else None
    held = found.get(plan["id"])
    if held is not None:
        there = held["recurring"]
        same_cycle = _holds(there, cycle) if there and cycle else there == cycle
        if same_cycle and _holds(held, wanted):
            return str(held["id"])
    key = {"lookup_key": plan["id"], "transfer_lookup_key": True}
    recurring = {"recurring": cycle} if cycle else {}
    made = account.ask("POST", "prices", {**wanted, **recurring, **key})
    if held is not None:
        account.ask("POST", f"prices/{held['id']}", {"active": False})
    return str(made["id"])


def _portal_settings(monthly: Mapping[str, str], return_url: str) -> dict[str, Any]:
    """What customers may do in the portal; ``monthly`` are the prices they may change among."""
    return {
        "default_return_url": return_url,
        "features": {
            "customer_update": {"enabled": True, "allowed_updates": ["email", "name", "address"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {
                "enabled": True,
                "mode": "at_period_end",
                "proration_behavior": "none",
                "cancellation_reason": {"enabled": True, "options": list(_REASONS)},
            },
            "subscription_update": {
                "enabled": True,
                "default_allowed_updates": ["price"],
                # More is paid for at once; less begins when what was paid for is used up.
                "proration_behavior": "always_invoice",
                "schedule_at_period_end": {"conditions": [{"type": "decreasing_item_amount"}]},
                "products": [
                    {"product": plan, "prices": [price]} for plan, price in monthly.items()
                ],
            },
        },
    }


def _stock_portal(account: _Account, monthly: Mapping[str, str], return_url: str) -> str:
    path = "billing_portal/configurations"
    default = account.ask("GET", path, {"is_default": True})["data"]
    held = default[0] if default else None
    return str(account.ensure(path, held, _portal_settings(monthly, return_url))["id"])


def _stock_endpoint(account: _Account, url: str) -> tuple[str, str]:
    """The store's endpoint and its secret; a store that moved keeps both."""
    wanted = {"url": url, "enabled_events": list(EVENTS)}
    listed = account.ask("GET", "webhook_endpoints", {"limit": 100})["data"]
    held = next((one for one in listed if one["url"].endswith(WEBHOOK_PATH)), None)
    if held is not None and held["status"] != "enabled":
        account.ask("POST", f"webhook_endpoints/{held['id']}", {"disabled": False})
    endpoint = account.ensure("webhook_endpoints", held, wanted)
    identifier = str(endpoint["id"])
    # Stripe shows a secret once; of an endpoint that was there before, only the sandbox tells it.
    secret = endpoint.get("secret") or account.secrets()[identifier][0]
    return identifier, str(secret)


class _Account:
    """A connection to Stripe with the sandbox's key."""

    def __init__(self, server: Located) -> None:
        self._base = server.url
        self._client = httpx.Client(
            base_url=f"{server.url}/v1/",
            headers={"Authorization": f"Bearer {API_KEY}"},
            trust_env=False,  # a proxy has no business between two local programs
            # Loopback speaks no TLS; without this, httpx reads every root certificate first.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            timeout=30,
        )

    def __enter__(self) -> _Account:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def ask(self, method: str, path: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """The object in answer to a request; StockingError when it is refused."""
        pairs = dict(form_pairs(_worded(given)))
        query, form = (pairs, None) if method == "GET" else (None, pairs)
        reply = self._client.request(method, path, params=query, data=form)
        if not reply.is_success:
            raise _refused(method, path, reply)
        answer: dict[str, Any] = reply.json()
        return answer

    def find(self, kind: str, identifier: str) -> dict[str, Any] | None:
        """The object with this id, if it exists."""
        path = f"{kind}/{quote(identifier, safe='')}"
        reply = self._client.get(path)
        if reply.status_code == httpx.codes.NOT_FOUND:
            return None
        if not reply.is_success:
            raise _refused("GET", path, reply)
        found: dict[str, Any] = reply.json()
        return found

    def ensure(
        self,
        kind: str,
        held: Mapping[str, Any] | None,
        wanted: Mapping[str, Any],
        identifier: str | None = None,
    ) -> Mapping[str, Any]:
        """``held`` as ``wanted``, made when there is none; nothing is sent when it is already."""
        if held is None:
            return self.ask("POST", kind, {**wanted, **({"id": identifier} if identifier else {})})
        if _holds(held, wanted):
            return held
        return self.ask("POST", f"{kind}/{quote(held['id'], safe='')}", wanted)

    def secrets(self) -> dict[str, list[str]]:
        """The secrets of every endpoint, newest first."""
        reply = self._client.get(f"{self._base}/_sim/secrets")
        if not reply.is_success:
            raise _refused("GET", "_sim/secrets", reply)
        told: dict[str, list[str]] = reply.json()["secrets"]
        return told


def _worded(value: Any) -> Any:
    """``value`` with its leaves as forms write them."""
    if isinstance(value, Mapping):
        return {name: _worded(below) for name, below in value.items()}
    if isinstance(value, list):
        return [_worded(below) for below in value]
    return str(value).lower() if isinstance(value, bool) else str(value)


def _holds(there: Any, wanted: Any) -> bool:
    """Whether ``there`` says all that ``wanted`` says; the order of a list says nothing."""
    if isinstance(wanted, Mapping):
        return isinstance(there, Mapping) and all(
            name in there and _holds(there[name], below) for name, below in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(any(_holds(one, below) for one in there) for below in wanted)
        )
    return bool(there == wanted)


def _refused(method: str, path: str, reply: httpx.Response) -> StockingError:
    try:
        reason = reply.json()["error"]["message"]
    except (ValueError, LookupError, TypeError):
        reason = f"status {reply.status_code}"
    return StockingError("stocking-refused", f"{method} {path}: {reason}")
