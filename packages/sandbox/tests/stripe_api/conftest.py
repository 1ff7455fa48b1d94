"""A Stripe simulator for each test, the official SDK on it, and a customer's hands on its pages."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import stripe

from shimmy_sandbox.simulation.controls import Controls
from shimmy_sandbox.stripe_api.server import StripeServer, serve_stripe

from . import contract

START = datetime(2027, 1, 31, 12, tzinfo=UTC)
SUCCESS = "http://127.0.0.1:9/thanks?session={CHECKOUT_SESSION_ID}"
# Loopback speaks no TLS; without this, every client reads all root certificates first.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass
class Shop:
    """A running simulator, the SDK, a browser without JavaScript, and the controls."""

    server: StripeServer
    sdk: Any
    browser: httpx.Client

    @property
    def v1(self) -> Any:
        """The SDK's resources."""
        return self.sdk.v1

    def control(self, path: str, order: Any = None) -> Any:
        """POST to ``/_sim``; fails when it is refused."""
        reply = self.browser.post(f"/_sim/{path}", json=order or {})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def freeze(self, moment: datetime = START) -> None:
        """The clock stands still at ``moment``."""
        self.control("clock", {"frozen": moment.isoformat()})
        self.control("tick")

    def advance(self, **step: float) -> None:
        """Days, hours, seconds pass, and what is due happens."""
        units = {"days": 86400.0, "hours": 3600.0, "seconds": 1.0}
        total = sum(units[name] * value for name, value in step.items())
        self.control("clock", {"advance_seconds": total})
        self.control("tick")

    def price(self, amount: int = 1200, key: str | None = None, **more: Any) -> Any:
        """A recurring monthly price, with a product of its own unless told."""
        params: dict[str, Any] = {
            "currency": "usd",
            "unit_amount": amount,
            "recurring": {"interval": "month"},
        }
        if key:
            params["lookup_key"] = key
        if "product" not in more:
            params["product_data"] = {"name": key or "Developer"}
        params |= more
        if params["recurring"] is None:
            del params["recurring"]
        return self.v1.prices.create(params)

    def session(self, price: Any, mode: str = "subscription", **more: Any) -> Any:
        """A checkout session for one unit of ``price``."""
        return self.v1.checkout.sessions.create(
            {
                "mode": mode,
                "line_items": [{"price": price.id, "quantity": 1}],
                "success_url": SUCCESS,
                "cancel_url": "http://127.0.0.1:9/back",
                **more,
            }
        )

    def pay(self, session: Any, card: str = "4242424242424242", **form: str) -> httpx.Response:
        """Fill in the page of ``session`` and press Pay."""
        fields = {
            "email": "ada@example.com",
            "name": "Ada",
            "card_number": card,
            "card_expiry": "12/34",
            "card_cvc": "123",
            **form,
        }
        return self.browser.post(session.url, data=fields)

    def subscribe(self, price: Any, card: str = "4242424242424242", **more: Any) -> Any:
        """A running subscription to ``price``."""
        session = self.session(price, **more)
        reply = self.pay(session, card)
        if reply.status_code == 303 and "challenge" in reply.headers["location"]:
            reply = self.browser.post(reply.headers["location"], data={"outcome": "complete"})
        assert reply.status_code == 303, reply.text
        done = self.v1.checkout.sessions.retrieve(session.id)
        return self.v1.subscriptions.retrieve(done.subscription)

    def events(self, *kinds: str) -> list[Any]:
        """Events so far, oldest first; of ``kinds`` when given."""
        found = list(self.v1.events.list({"limit": 100}).auto_paging_iter())[::-1]
        return [one for one in found if not kinds or one.type in kinds]

    def types(self, since: int = 0) -> list[str]:
        """The types of the events after the first ``since``."""
        return [one.type for one in self.events()][since:]

    def portal(self, customer: str, **features: Any) -> Any:
        """A portal session whose configuration allows ``features``."""
        allowed = {
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
            **features,
        }
        made = self.v1.billing_portal.configurations.create({"features": allowed})
        return self.v1.billing_portal.sessions.create(
            {"customer": customer, "configuration": made.id, "return_url": "http://127.0.0.1:9/me"}
        )


class ValidatingClient(stripe.HTTPXClient):
    """The SDK's transport; every reply it gets is held against Stripe's description."""

    def request(self, method: str, url: str, *args: Any, **named: Any) -> Any:
        content, status, headers = super().request(method, url, *args, **named)
        wrong = contract.problems(method, urlsplit(url).path, status, json.loads(content))
        assert not wrong, f"{method} {url}: {wrong}"
        return content, status, headers


@contextmanager
def sdk_of(server: StripeServer, key: str | None = None, retries: int = 0) -> Iterator[Any]:
    """The official client on ``server``."""
    transport: Any = ValidatingClient(timeout=30, allow_sync_methods=True)
    try:
        yield stripe.StripeClient(
            key or server.api_key,
            base_addresses={"api": server.url},
            max_network_retries=retries,
            http_client=transport,
        )
    finally:
        transport.close()


def browser_of(server: StripeServer) -> httpx.Client:
    """A browser without JavaScript, at the address of ``server``."""
    return httpx.Client(base_url=server.url, verify=NO_TLS, trust_env=False, timeout=30)


@contextmanager
def opened(path: Path | str = ":memory:", moment: datetime | None = None) -> Iterator[Shop]:
    """A simulator on the state in ``path``, and everything to work with it.

    Its clock stands still at ``moment`` from its first second on; without one it is real time.
    """
    controls = Controls()
    if moment is not None:
        controls.clock.freeze(moment)
    with (
        serve_stripe(path, controls=controls) as server,
        sdk_of(server) as sdk,
        browser_of(server) as browser,
    ):
        yield Shop(server, sdk, browser)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK calls httpx in a way that httpx no longer likes; that is not our business."""
    ours = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    for item in ours:
        old_way = "ignore:Use 'content=:DeprecationWarning"
        item.add_marker(pytest.mark.filterwarnings(old_way))


@pytest.fixture
def shop() -> Iterator[Shop]:
    """A shop at the last of January, its clock standing still."""
    with opened() as made:
        made.freeze()
        yield made


@dataclass
class Receiver:
    """A webhook endpoint of ours: what came, and what it answers next."""

    url: str
    got: list[tuple[str, bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        """The types of the events in the order they came."""
        return [json.loads(body)["type"] for _, body in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A listening endpoint."""
    held = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            held.got.append((self.headers["Stripe-Signature"], body))
            status = held.answers.pop(0) if held.answers else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        held.url = f"http://127.0.0.1:{listening.server_port}/webhooks"
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield held
        listening.shutdown()
        thread.join()


def endpoint(shop: Shop, receiver: Receiver, events: Sequence[str] = ("*",)) -> Any:
    """``receiver`` as a webhook endpoint of the shop."""
    return shop.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": list(events)})


def unix(moment: datetime) -> int:
    """Unix seconds."""
    return int(moment.timestamp())
