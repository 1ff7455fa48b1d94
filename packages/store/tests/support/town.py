"""A shop at Stripe, licences at Keygen and the store between them, over real sockets.

Customers act through Stripe's own client and its hosted pages. Events are signed and received as
they would be, in any order and number.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import stripe

from shimmy_sandbox.keygen.server import KeygenServer, serve_keygen
from shimmy_sandbox.keygen.shop import policy_id, stock_shop
from shimmy_sandbox.simulation.controls import Controls
from shimmy_sandbox.stripe_api.server import StripeServer, serve_stripe
from shimmy_store.adapters.contract_files import read_webhook_events
from shimmy_store.adapters.keygen_licences import KeygenLicences
from shimmy_store.adapters.keygen_wire import KeygenWire
from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.adapters.stripe_payments import StripePayments
from shimmy_store.domain.catalog import PLAN_IDS
from shimmy_store.domain.convergence import IssuedLicence
from shimmy_store.domain.fulfilment import licence_id
from shimmy_store.domain.webhook_event import parse_handled
from shimmy_store.ports.database import Database, Statement
from shimmy_store.server import workroom
from shimmy_store.use_cases.fulfil_customer import Fulfilment
from shimmy_store.use_cases.hear_lost_events import hear_lost_events
from shimmy_store.use_cases.receive_event import Endpoint, receive_event
from shimmy_store.use_cases.sweep_events import Swept, sweep_events

CATALOG = json.loads((Path(__file__).resolve().parents[4] / "contracts/plans.json").read_text())
HANDLED = parse_handled(read_webhook_events())
START = datetime(2027, 1, 15, 12, tzinfo=UTC)
GOOD, REFUSED_LATER, DISPUTED = "4242424242424242", "4000000000000341", "4000000000000259"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
# A payment's page answers once the shop has heard of it, and months with all that falls due in them
# take their time on a busy machine.
_PATIENCE_SECONDS = 60
# Where ledgers of towns lie that are opened now, if not in their files.
LEDGERS: Callable[[str], Database] | None = None


async def _hear_nothing(*_: object) -> int:
    return 0


def find_again() -> None:
    """Stores in this process look for what they were not told of, as they do unless kept from it.

    Whoever opens a town in which ``keep_unheard`` is called ends so: a test that fails before it
    lets the store hear would leave the other tests of its process without that.
    """
    setattr(workroom, hear_lost_events.__name__, hear_lost_events)


class PowerCut(BaseException):
    """The process ends here, and does nothing more."""


@dataclass
class Fuse:
    """Blows before or after the call of this number; nothing gets through afterwards."""

    number: int | None
    after: bool = False
    calls: int = 0
    blown: bool = False

    def guard(self, port: Any, unguarded: tuple[str, ...] = ()) -> Any:
        return _Guarded(port, self, unguarded)

    async def call(self, method: Any, args: Any) -> Any:
        if self.blown:
            raise PowerCut
        self.calls += 1
        self.blown = self.calls == self.number
        if self.blown and self.after:
            await method(*args)
        if self.blown:
            raise PowerCut
        return await method(*args)


class _Guarded:
    def __init__(self, port: Any, fuse: Fuse, unguarded: tuple[str, ...]) -> None:
        self._port, self._fuse, self._unguarded = port, fuse, unguarded

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if name in self._unguarded:
            return method
        return lambda *args, **named: self._fuse.call(partial(method, **named), args)


@dataclass(frozen=True)
class Bought:
    """``running`` goes on, ``collects`` money or may; ``kept``: none went back, ``gone``: all."""

    running: bool
    collects: bool
    kept: bool
    gone: bool


@dataclass
class Town:
    """A shop at Stripe, licences at Keygen, and the store between them."""

    payments: StripeServer
    keygen: KeygenServer
    ledger: Path
    sdk: Any
    browser: httpx.Client
    # Where the ledger lies, if not in that file.
    connect: Callable[[], Database] | None = None
    prices: dict[str, str] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)

    def now(self) -> datetime:
        return self.payments.controls.clock.now()

    def control(self, path: str, order: Any = None) -> Any:
        reply = self.browser.post(f"/_sim/{path}", json=order or {})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def keep_unheard(self) -> None:
        """The store is told of nothing from now on, nor finds it by itself, every 20 seconds.

        For stores in this process.
        """
        self.control("deliveries", {"hold": True})
        setattr(workroom, hear_lost_events.__name__, _hear_nothing)

    def let_hear(self) -> None:
        """What was kept from it comes."""
        find_again()
        self.control("deliveries", {"release": "in-order"})

    def open(self) -> None:
        self.payments.controls.clock.freeze(START)
        for plan in CATALOG["plans"]:
            product = self.sdk.v1.products.create({"id": plan["id"], "name": plan["name"]})
            recurring = {"interval": "month"} if plan["interval"] == "month" else None
            price = {
                "product": product.id,
                "currency": "usd",
                "unit_amount": plan["unit_amount"],
                "lookup_key": plan["id"],
                **({"recurring": recurring} if recurring else {}),
            }
            self.prices[plan["id"]] = self.sdk.v1.prices.create(price).id

    def pass_time(self, **span: float) -> None:
        step = timedelta(**span).total_seconds()
        self.control("clock", {"advance_seconds": step})
        self.control("tick")

    def customer(self, email: str = "buyer@example.com") -> str:
        return str(self.sdk.v1.customers.create({"email": email}).id)

    def buy(self, plan: str, customer: str, card: str = GOOD) -> Any:
        once = plan == "lifetime"
        metadata = {"plan": plan}
        session = self.sdk.v1.checkout.sessions.create(
            {
                "mode": "payment" if once else "subscription",
                "customer": customer,
                "line_items": [{"price": self.prices[plan], "quantity": 1}],
                "success_url": "http://127.0.0.1:9/thanks",
                **({"payment_intent_data": {"metadata": metadata}} if once else {}),
            }
        )
        page = self.browser.get(session.url)
        assert page.status_code == 200
        form = {"email": "b@example.com", "name": "Ada", "card_number": card}
        done = self.browser.post(
            session.url, data={**form, "card_expiry": "12/34", "card_cvc": "123"}
        )
        assert done.status_code == 303, done.text
        return self.sdk.v1.checkout.sessions.retrieve(session.id)

    def work(
        self, *, seed: int = 0, rounds: int = 1, listen: bool = True, fuse: Fuse | None = None
    ) -> Swept:
        """Hear what is new, some of it twice and in any order, and sweep."""
        fuse = fuse or Fuse(None)
        return asyncio.run(self._work(random.Random(seed), rounds, fuse, listen=listen))

    async def _work(self, chance: random.Random, rounds: int, fuse: Fuse, *, listen: bool) -> Swept:
        swept = Swept(0, 0)
        async with self.fulfilment(fuse) as fulfilment:
            if listen:
                await self._hear(fulfilment.ledger, chance)
            with suppress(PowerCut):
                for _ in range(rounds):
                    swept = await sweep_events(fulfilment, chance.random)
                    if not swept.waiting:
                        break
                    self.payments.controls.clock.advance(timedelta(minutes=1))
        return swept

    @asynccontextmanager
    async def fulfilment(self, fuse: Fuse | None = None) -> AsyncIterator[Fulfilment]:
        """What the store works with; the fuse guards every call but those that hear events."""
        fuse = fuse or Fuse(None)
        database = self._connect()
        http = stripe.HTTPXClient(timeout=_PATIENCE_SECONDS)
        try:
            await migrate_ledger(database)
            payments = StripePayments(_sdk(self.payments, http))
            async with self._keygen() as wire:
                yield Fulfilment(
                    fuse.guard(payments, unguarded=("customers", "events")),
                    fuse.guard(KeygenLicences(wire, self.policies)),
                    fuse.guard(SqlLedger(database), unguarded=("add_event",)),
                    f"worker {fuse.number}",
                    self.now,
                )
        finally:
            await http.close_async()  # type: ignore[no-untyped-call]
            await database.close()

    @property
    def policies(self) -> dict[Any, str]:
        return {plan: policy_id(plan) for plan in PLAN_IDS}

    @asynccontextmanager
    async def _keygen(self) -> AsyncIterator[KeygenWire]:
        async with httpx.AsyncClient(
            base_url=f"{self.keygen.url}/v1/accounts/{self.keygen.account}/",
            headers={"Authorization": f"Bearer {self.keygen.admin_token}"},
            trust_env=False,
            verify=NO_TLS,
            timeout=_PATIENCE_SECONDS,
        ) as client:
            yield KeygenWire(client)

    async def _hear(self, ledger: Any, chance: random.Random) -> None:
        listed = self.browser.get(
            "/v1/events?limit=100", headers={"Authorization": f"Bearer {self.payments.api_key}"}
        ).json()["data"]
        new = [one for one in listed if one["id"] not in self.heard]
        self.heard |= {one["id"] for one in new}
        again = [one for one in new if chance.random() < 0.3]
        for event in chance.sample(new + again, len(new + again)):
            body, at = json.dumps(event).encode(), int(self.now().timestamp())
            header = stripe.WebhookSignature.generate_signature_header(body.decode(), "whsec_x", at)
            endpoint = Endpoint(["whsec_x"], livemode=False, handled=HANDLED)
            answer = await receive_event(body, str(header), endpoint, ledger, self.now())
            assert isinstance(answer, str)

    def _connect(self) -> Database:
        return self.connect() if self.connect else SqliteDatabase(self.ledger)

    def licence(self, origin: str) -> IssuedLicence:
        async def find() -> IssuedLicence | None:
            async with self._keygen() as wire:
                return await KeygenLicences(wire, self.policies).find(licence_id(origin))

        found = asyncio.run(find())
        assert found is not None
        return found

    def count_licences(self) -> int:
        headers = {"Authorization": f"Bearer {self.keygen.admin_token}"}
        base = f"{self.keygen.url}/v1/accounts/{self.keygen.account}/licenses?limit=100"
        answer = httpx.get(base, headers=headers, trust_env=False, timeout=_PATIENCE_SECONDS)
        return len(answer.json()["data"])

    def ask(self, method: str, *args: Any) -> Any:
        """One question to the ledger."""

        async def ask() -> Any:
            database = self._connect()
            try:
                return await getattr(SqlLedger(database), method)(*args)
            finally:
                await database.close()

        return asyncio.run(ask())

    def bought(self, customer: str) -> list[Bought]:
        """What a customer has paid for, from Stripe's objects alone."""
        of = {"customer": customer, "limit": 100}
        charges = [one for one in self.sdk.v1.charges.list(of).data if one.paid]
        gone = {one.payment_intent for one in charges if one.refunded}
        for charge in charges:
            for dispute in self.sdk.v1.disputes.list({"charge": charge.id}).data:
                if dispute.status in ("needs_response", "under_review", "lost"):
                    gone.add(charge.payment_intent)
        found = []
        for one in self.sdk.v1.subscriptions.list({**of, "status": "all"}).data:
            invoice = self.sdk.v1.invoices.list(
                {**of, "subscription": one.id, "status": "paid", "expand": ["data.payments"]}
            ).data
            intents = {
                paid.payment.payment_intent for each in invoice for paid in each.payments.data
            }
            running = one.status == "active" and not one.cancel_at and not one.cancel_at_period_end
            collects = one.status in ("active", "trialing", "past_due", "unpaid", "paused")
            kept = bool(invoice) and not intents & gone
            lost = not invoice or (bool(intents) and intents <= gone)
            found.append(Bought(running, collects, kept, lost))
        for charge in charges:
            if "plan" in charge.metadata.to_dict():
                lost = charge.payment_intent in gone
                found.append(Bought(running=True, collects=False, kept=not lost, gone=lost))
        return found

    def messages(self, customer: str) -> list[str]:
        """The keys of all messages to a customer, sent or not, oldest first."""
        sql = "SELECT key FROM outbox WHERE customer = ? ORDER BY number"

        async def ask() -> list[str]:
            database = self._connect()
            try:
                (rows,) = await database.batch([Statement(sql, (customer,))])
            finally:
                await database.close()
            return [str(row[0]) for row in rows]

        return asyncio.run(ask())


@contextmanager
def open_town(ledger: Path) -> Iterator[Town]:
    """Both simulators on one clock, stocked with the plans."""
    with ExitStack() as stack:
        controls = Controls()
        keygen = stack.enter_context(serve_keygen(":memory:", controls=Controls(controls.clock)))
        stock_shop(keygen, CATALOG["plans"])
        payments = stack.enter_context(serve_stripe(":memory:", controls=controls))
        browser = stack.enter_context(
            httpx.Client(
                base_url=payments.url, trust_env=False, verify=NO_TLS, timeout=_PATIENCE_SECONDS
            )
        )
        http = stripe.HTTPXClient(timeout=_PATIENCE_SECONDS, allow_sync_methods=True)
        stack.callback(http.close)
        connect = partial(LEDGERS, str(ledger)) if LEDGERS else None
        opened = Town(payments, keygen, ledger, _sdk(payments, http), browser, connect)
        opened.open()
        yield opened


def _sdk(payments: StripeServer, http: stripe.HTTPXClient) -> stripe.StripeClient:
    return stripe.StripeClient(
        payments.api_key, base_addresses={"api": payments.url}, http_client=http
    )
