"""Who comes to the store under load: Stripe with its events, and people with their browsers."""

from __future__ import annotations

import json
import random
import ssl
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import stripe

from open_loop import Shot
from shimmy_store.adapters.contract_files import read_webhook_events
from shimmy_store.domain.webhook_event import parse_handled
from store_street import Street

HANDLED = parse_handled(read_webhook_events())
# Shares of all requests. Seven of ten are webhooks.
MIX = {
    "webhook new": 57,
    "webhook again": 10,
    "webhook unknown": 3,
    "pricing": 12,
    "view-license stranger": 6,
    "view-license owner": 6,
    "buy": 3,
    "health": 3,
}
_CARD = {"card_number": "4242424242424242", "card_expiry": "12/34", "card_cvc": "123"}
_PLANS = ("developer", "professional", "startup", "enterprise", "lifetime")
_PAGE = {"Accept": "text/html"}
_WAIT_SECONDS = 30
# The latest events are repeated: some while the store still works on the first.
_RECENT = 200


@dataclass(frozen=True, slots=True)
class Owner:
    """A customer who bought; ``cookies`` open the licence page."""

    customer: str
    cookies: str


class Crowd:
    """Makes the requests. Every webhook's ``tag`` is its event's id; others have none."""

    def __init__(
        self,
        owners: Sequence[Owner],
        events: Sequence[dict[str, Any]],
        secret: str,
        chance: random.Random,
    ) -> None:
        self.customers = [one.customer for one in owners]
        self._owners, self._events, self._secret, self._chance = owners, events, secret, chance
        self._sent: list[tuple[str, str]] = []

    def shot(self, _number: int) -> Shot:
        """The next one, by chance."""
        (name,) = self._chance.choices(list(MIX), list(MIX.values()))
        match name:
            case "webhook new":
                return self._fresh(name, self._chance.choice(self._events))
            case "webhook again" if self._sent:
                return self._signed(name, *self._chance.choice(self._sent[-_RECENT:]))
            case "webhook again" | "webhook unknown":
                payout = {"object": "payout", "id": "po_bench"}
                made = {"object": "event", "type": "payout.created", "livemode": False}
                return self._fresh("webhook unknown", {**made, "data": {"object": payout}})
            case _:
                return self._visit(name)

    def _fresh(self, name: str, event: dict[str, Any]) -> Shot:
        """What the sandbox once told, under another id and of now."""
        identifier = f"evt_bench_{uuid.UUID(int=self._chance.getrandbits(128)).hex}"
        body = json.dumps({**event, "id": identifier, "created": int(time.time())}, indent=2)
        self._sent.append((identifier, body))
        return self._signed(name, identifier, body)

    def _signed(self, name: str, identifier: str, body: str) -> Shot:
        signature = stripe.WebhookSignature.generate_signature_header(body, self._secret)
        headers = {"Content-Type": "application/json", "Stripe-Signature": str(signature)}
        return Shot(name, "POST", "/stripe-webhook", (200,), headers, body.encode(), identifier)

    def _visit(self, name: str) -> Shot:
        match name:
            case "pricing":
                return Shot(name, "GET", "/pricing", (200,), _PAGE)
            case "view-license owner":
                cookies = {"Cookie": self._chance.choice(self._owners).cookies}
                return Shot(name, "GET", "/view-license", (200,), {**_PAGE, **cookies})
            case "buy":
                headers = {**_PAGE, "X-Forwarded-For": self._address()}
                path = f"/buy?plan={self._chance.choice(_PLANS)}"
                return Shot(name, "GET", path, (303,), headers)
            case "health":
                return Shot(name, "GET", "/health", (200,))
            case _:
                return Shot(name, "GET", "/view-license", (200,), _PAGE)

    def _address(self) -> str:
        """One of so many that nobody buys too often."""
        return f"198.18.{self._chance.randrange(256)}.{self._chance.randrange(256)}"


def gather_crowd(street: Street, customers: int, chance: random.Random) -> Crowd:
    """So many buy first, as people do; then what Stripe told of them is known."""
    owners = [_buy(street, number) for number in range(customers)]
    known = {one.customer for one in owners}
    events = [
        one
        for one in _list_events(street)
        if one["type"] in HANDLED and one["data"]["object"].get("customer") in known
    ]
    return Crowd(owners, events, street.settings["SHIMMY_STORE_WEBHOOK_SECRETS"], chance)


def _buy(street: Street, number: int) -> Owner:
    headers = {**_PAGE, "X-Forwarded-For": f"198.19.{number // 256}.{number % 256}"}
    with _client(base_url=street.url, headers=headers) as browser:
        way = browser.get("/buy", params={"plan": _PLANS[number % len(_PLANS)]})
        form = {"email": f"bench-{number}@example.com", "name": "Ada", **_CARD}
        paid = browser.post(way.headers["location"], data={**form, "payment_method": "card"})
        back = paid.headers["location"]
        end = time.monotonic() + _WAIT_SECONDS
        while "shimmy-session" not in browser.cookies and time.monotonic() < end:
            browser.get(back).raise_for_status()
        shown = browser.get("/view-license", headers={"Accept": "application/json"})
        cookies = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
        return Owner(shown.raise_for_status().json()["licences"][0]["customer"], cookies)


def _list_events(street: Street) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {street.settings['SHIMMY_STORE_STRIPE_KEY']}"}
    found: list[dict[str, Any]] = []
    with _client(base_url=street.settings["SHIMMY_STORE_STRIPE_URL"], headers=headers) as client:
        page: dict[str, Any] = {"has_more": True}
        while page["has_more"]:
            after = {"starting_after": found[-1]["id"]} if found else {}
            reply = client.get("/v1/events", params={"limit": "100", **after})
            page = reply.raise_for_status().json()
            found += page["data"]
    return found


def _client(**kwargs: Any) -> httpx.Client:
    # Loopback speaks no TLS; without this, httpx reads every root certificate first.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.Client(trust_env=False, verify=context, timeout=_WAIT_SECONDS, **kwargs)
