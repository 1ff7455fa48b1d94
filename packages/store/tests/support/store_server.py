"""The whole store on loopback: its real app, both simulators, a mailbox, webhooks that arrive."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from town import HANDLED, NO_TLS, Town, open_town

from shimmy_sandbox.mailbox.server import MailboxServer, serve_mailbox
from shimmy_sandbox.simulation.loopback import serve_on_loopback
from shimmy_store.server.app import create_app
from shimmy_store.settings import Settings
from shimmy_store.wiring import open_shop

SECRET = "a secret of tests, long enough".replace(" ", "-") + "-and-more"
Found = TypeVar("Found")
_PATIENCE_SECONDS, _MOST_SECONDS_AHEAD = 3.0, 300
_BEING_MADE = "Your licence is being made."


def eventually(look: Callable[[], Found | None], seconds: float = 60) -> Found:
    """What ``look`` finds at last."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come about")


@dataclass
class Visitor:
    """A browser without JavaScript: keeps cookies, reads forms."""

    client: httpx.Client
    last: httpx.Response | None = None

    def open(self, path: str, **kwargs: Any) -> httpx.Response:
        self.last = self.client.get(path, **kwargs)
        return self.last

    def submit(self, action: str, **fields: str) -> httpx.Response:
        """Send the form with this action on the page opened last, hidden fields included."""
        assert self.last is not None
        form = next(
            one
            for one in re.findall(r"<form.*?</form>", self.last.text, re.S)
            if f'action="{action}"' in one
        )
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))
        self.last = self.client.post(action, data={**hidden, **fields})
        return self.last


@dataclass
class Store:
    """Everything that runs, and a way to buy."""

    url: str
    town: Town
    mailbox: MailboxServer
    settings: Settings
    _stack: ExitStack = field(repr=False)

    def visitor(self) -> Visitor:
        """Somebody new."""
        client = httpx.Client(
            base_url=self.url,
            trust_env=False,
            verify=NO_TLS,
            headers={"Accept": "text/html"},
            timeout=30,
        )
        return Visitor(self._stack.enter_context(client))

    def pay(self, url: str, email: str, card: str = "4242424242424242") -> str:
        """Fill in the hosted page; the address that the buyer is sent back to."""
        form = {"email": email, "name": "Ada", "card_number": card, "payment_method": "card"}
        answer = self.town.browser.post(
            url, data={**form, "card_expiry": "12/34", "card_cvc": "123"}, timeout=30
        )
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    def buy(self, plan: str, email: str, visitor: Visitor | None = None) -> httpx.Response:
        """From the link to the page that shows the licence."""
        visitor = visitor or self.visitor()
        way = visitor.open(f"/buy?plan={plan}")
        assert way.status_code == 303, way.text
        back = urlsplit(self.pay(way.headers["location"], email))
        return come_back(visitor, f"{back.path}?{back.query}")

    def settle(self) -> None:
        """Every webhook that is due has come, and what it told of is done and mailed."""

        def done() -> bool:
            came = self.all_came()
            stock = self.town.ask("take_stock")
            # What was done may have been told of in its turn.
            return came and not (stock.oldest_event or stock.messages_waiting) and self.all_came()

        eventually(done)

    def all_came(self) -> bool:
        """Whether Stripe has nothing more to tell now."""
        return bool(self.town.control("deliveries/idle", {"timeout_seconds": 10})["idle"])

    def mails(self, to: str) -> list[dict[str, Any]]:
        """What lies in somebody's mailbox."""
        answer = httpx.get(
            f"{self.mailbox.url}/_sim/messages",
            params={"to": to},
            trust_env=False,
            verify=NO_TLS,
            timeout=30,
        )
        read = answer.json()
        return list(read["messages"] if isinstance(read, dict) else read)

    def mail(self, to: str, words: str) -> str:
        """The text of the newest mail with these words in it, once it is there."""

        began, ahead = time.monotonic(), 0

        def look() -> str | None:
            nonlocal ahead
            found = [one["text"] for one in self.mails(to) if words in one["text"]]
            late = time.monotonic() - began > _PATIENCE_SECONDS
            # Not further: what is mailed is good for minutes.
            if not found and late and ahead < _MOST_SECONDS_AHEAD:
                # What was put off for some seconds comes again: the clock stands still here.
                ahead += 1
                self.town.payments.controls.clock.advance(timedelta(seconds=1))
            return found[-1] if found else None

        return eventually(look)


def come_back(visitor: Visitor, path: str) -> httpx.Response:
    """The page after paying; while the licence is being made it loads itself again."""

    def look() -> httpx.Response | None:
        page = visitor.open(path)
        return None if _BEING_MADE in page.text else page

    return eventually(look)


def key_on(page: str) -> str:
    """The licence key that a page shows."""
    found = re.search(r'<code id="licence-key">([^<]+)<', page)
    assert found, page
    return found[1]


@contextmanager
def open_store(folder: Path, **changes: Any) -> Iterator[Store]:
    """A store that Stripe delivers to."""
    with ExitStack() as stack:
        town = stack.enter_context(open_town(folder / "ledger.sqlite"))
        mailbox = stack.enter_context(serve_mailbox())
        town.sdk.v1.billing_portal.configurations.create(portal_of_town(town))
        given = {
            "mode": "test",
            "url": "http://127.0.0.1:1",
            "stripe_key": town.payments.api_key,
            "webhook_secrets": ("whsec_unknown",),
            "keygen_account": town.keygen.account,
            "keygen_token": town.keygen.admin_token,
            "policies": town.policies,
            "mail": mailbox.smtp_url,
            "mail_from": "Shimmy Vision <licences@shimmy.example>",
            "ledger": f"sqlite:///{town.ledger}",
            "secrets": (SECRET,),
            "stripe_url": town.payments.url,
            "keygen_url": town.keygen.url,
            "pay_origins": (town.payments.url,),
            **changes,
        }
        # The app must know its own address, which is known once something listens there.
        gate = _Gate()
        served = stack.enter_context(serve_on_loopback(gate))
        endpoint = town.sdk.v1.webhook_endpoints.create(
            {"url": f"{served.url}/stripe-webhook", "enabled_events": sorted(HANDLED)}
        )
        settings = Settings(**{**given, "url": served.url, "webhook_secrets": (endpoint.secret,)})
        town.control("deliveries", {"timestamps": "simulated"})
        gate.app = create_app(settings, partial(open_shop, now=town.now))
        stack.callback(gate.stop)
        yield Store(served.url, town, mailbox, settings, stack)


def portal_of_town(town: Town) -> dict[str, Any]:
    """A portal in which everything may be changed."""
    products = [
        {"product": town.sdk.v1.prices.retrieve(price).product, "prices": [price]}
        for plan, price in town.prices.items()
        if plan != "lifetime"
    ]
    update = {
        "enabled": True,
        "default_allowed_updates": ["price"],
        "products": products,
        "proration_behavior": "always_invoice",
    }
    return {
        "features": {
            "customer_update": {"enabled": True, "allowed_updates": ["email"]},
            "invoice_history": {"enabled": True},
            "payment_method_update": {"enabled": True},
            "subscription_cancel": {"enabled": True, "mode": "at_period_end"},
            "subscription_update": update,
        }
    }


class _Gate:
    """Serves an app that is made later, with its lifespan run on the server's own loop."""

    def __init__(self) -> None:
        self.app: Any = None
        self._context: Any = None
        self._loop: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        import asyncio

        if self._context is None:
            self._loop = asyncio.get_running_loop()
            self._context = self.app.router.lifespan_context(self.app)
            self._ready = asyncio.ensure_future(self._context.__aenter__())
        await self._ready
        await self.app(scope, receive, send)

    def stop(self) -> None:
        import asyncio

        if self._context is not None:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(20)

    async def _end(self) -> None:
        # What came last, an event of Stripe's perhaps, may have been the first that asks at all.
        await self._ready
        await self._context.__aexit__(None, None, None)
