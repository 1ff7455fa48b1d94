"""From Stripe to Keygen: what customers do there, and the licence they have afterwards.

Both simulators over real sockets, Stripe's own client, the ledger on a file. Events are signed and
received as they would be, in any order and number.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from shimmy_sandbox.keygen.server import KeygenServer, serve_keygen
from shimmy_sandbox.keygen.shop import policy_id, stock_shop
from shimmy_sandbox.simulation.faults import Fault
from shimmy_sandbox.stripe_api.server import StripeServer, serve_stripe
from shimmy_store.adapters.keygen_licences import KeygenLicences
from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.adapters.stripe_payments import StripePayments
from shimmy_store.domain.catalog import PLAN_IDS
from shimmy_store.domain.convergence import IssuedLicence
from shimmy_store.domain.fulfilment import Alarm, licence_id
from shimmy_store.use_cases.fulfil_customer import Fulfilment
from shimmy_store.use_cases.receive_event import Endpoint, receive_event
from shimmy_store.use_cases.sweep_events import Swept, sweep_events

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

CATALOG = json.loads((Path(__file__).resolve().parents[3] / "contracts/plans.json").read_text())
START = datetime(2027, 1, 15, 12, tzinfo=UTC)
GOOD, REFUSED_LATER, DISPUTED = "4242424242424242", "4000000000000341", "4000000000000259"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class PowerCut(BaseException):
    """The process ends here, and does nothing more."""


@dataclass
class Fuse:
    """Blows before or after the call of this number; nothing gets through afterwards."""

    number: int | None
    after: bool = False
    calls: int = 0
    blown: bool = False

    def guard(self, port: Any) -> Any:
        return _Guarded(port, self)

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
    def __init__(self, port: Any, fuse: Fuse) -> None:
        self._port, self._fuse = port, fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        return lambda *args: self._fuse.call(method, args)


@dataclass
class Town:
    """A shop at Stripe, licences at Keygen, and the store between them."""

    payments: StripeServer
    keygen: KeygenServer
    ledger: Path
    sdk: Any
    browser: httpx.Client
    prices: dict[str, str] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)

    def now(self) -> datetime:
        return self.payments.controls.clock.now()

    def control(self, path: str, order: Any = None) -> Any:
        reply = self.browser.post(f"/_sim/{path}", json=order or {})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def open(self) -> None:
        for moment in (self.payments, self.keygen):
            moment.controls.clock.freeze(START)
        for plan in CATALOG["plans"]:
            product = self.sdk.v1.products.create({"name": plan["name"]})
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
        self.keygen.controls.clock.freeze(self.now())

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
        async with httpx.AsyncClient(
            base_url=f"{self.keygen.url}/v1/accounts/{self.keygen.account}/",
            headers={"Authorization": f"Bearer {self.keygen.admin_token}"},
            trust_env=False,
        ) as client:
            database = SqliteDatabase(self.ledger)
            await migrate_ledger(database)
            ledger = SqlLedger(database)
            if listen:
                await self._hear(ledger, chance)
            licences = KeygenLicences(client, {plan: policy_id(plan) for plan in PLAN_IDS})
            http = stripe.HTTPXClient(timeout=10)
            payments = StripePayments(_sdk(self.payments, http))
            fulfilment = Fulfilment(
                fuse.guard(payments),
                fuse.guard(licences),
                fuse.guard(ledger),
                f"worker {fuse.number}",
                self.now,
            )
            with suppress(PowerCut):
                for _ in range(rounds):
                    swept = await sweep_events(fulfilment, chance.random)
                    if not swept.waiting:
                        break
                    self.payments.controls.clock.advance(timedelta(minutes=1))
            await http.close_async()  # type: ignore[no-untyped-call]
            database.close()
        return swept

    async def _hear(self, ledger: SqlLedger, chance: random.Random) -> None:
        listed = self.browser.get(
            "/v1/events?limit=100", headers={"Authorization": f"Bearer {self.payments.api_key}"}
        ).json()["data"]
        new = [one for one in listed if one["id"] not in self.heard]
        self.heard |= {one["id"] for one in new}
        again = [one for one in new if chance.random() < 0.3]
        for event in chance.sample(new + again, len(new + again)):
            body, at = json.dumps(event).encode(), int(self.now().timestamp())
            header = stripe.WebhookSignature.generate_signature_header(body.decode(), "whsec_x", at)
            endpoint = Endpoint(["whsec_x"], livemode=False)
            answer = await receive_event(body, str(header), endpoint, ledger, self.now())
            assert isinstance(answer, str)

    def licence(self, origin: str) -> IssuedLicence:
        async def find() -> IssuedLicence | None:
            async with httpx.AsyncClient(
                base_url=f"{self.keygen.url}/v1/accounts/{self.keygen.account}/",
                headers={"Authorization": f"Bearer {self.keygen.admin_token}"},
                trust_env=False,
            ) as client:
                plans = {plan: policy_id(plan) for plan in PLAN_IDS}
                return await KeygenLicences(client, plans).find(licence_id(origin))

        found = asyncio.run(find())
        assert found is not None
        return found

    def count_licences(self) -> int:
        headers = {"Authorization": f"Bearer {self.keygen.admin_token}"}
        base = f"{self.keygen.url}/v1/accounts/{self.keygen.account}/licenses?limit=100"
        return len(httpx.get(base, headers=headers, trust_env=False).json()["data"])

    def remember(self, query: str) -> Any:
        async def ask() -> Any:
            database = SqliteDatabase(self.ledger)
            ledger = SqlLedger(database)
            found = await getattr(ledger, query)(*([self.now(), 99] if "due" in query else []))
            database.close()
            return found

        return asyncio.run(ask())


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    with ExitStack() as stack:
        keygen = stack.enter_context(serve_keygen(":memory:"))
        stock_shop(keygen, CATALOG["plans"])
        payments = stack.enter_context(serve_stripe(":memory:"))
        browser = stack.enter_context(
            httpx.Client(base_url=payments.url, trust_env=False, verify=NO_TLS)
        )
        http = stripe.HTTPXClient(timeout=10, allow_sync_methods=True)
        stack.callback(http.close)
        sdk = _sdk(payments, http)
        opened = Town(payments, keygen, tmp_path / "ledger.sqlite", sdk, browser)
        opened.open()
        yield opened


def _sdk(payments: StripeServer, http: stripe.HTTPXClient) -> stripe.StripeClient:
    return stripe.StripeClient(
        payments.api_key, base_addresses={"api": payments.url}, http_client=http
    )


def test_a_purchase_is_one_licence_and_one_mail_whatever_is_repeated(town: Town) -> None:
    bought = town.buy("startup", town.customer())
    for seed in range(3):
        assert town.work(seed=seed).waiting == 0
    licence = town.licence(bought.subscription)
    assert (licence.plan, licence.suspended) == ("startup", False)
    assert licence.expiry is not None
    assert licence.expiry - town.now() == timedelta(days=31 + 3)
    assert town.count_licences() == 1
    (mail,) = town.remember("due_messages")
    assert (mail.kind, licence.key in mail.body) == ("licence", False)
    assert town.remember("oldest_pending") is None


def test_a_plan_bought_once(town: Town) -> None:
    bought = town.buy("lifetime", town.customer())
    town.work()
    licence = town.licence(bought.payment_intent)
    assert (licence.plan, licence.expiry, licence.suspended) == ("lifetime", None, False)


def test_months_come_and_go(town: Town) -> None:
    bought = town.buy("developer", town.customer())
    town.work()
    first = town.licence(bought.subscription)
    town.pass_time(days=31, hours=2)
    town.work()
    second = town.licence(bought.subscription)
    assert second.key == first.key
    assert first.expiry is not None and second.expiry is not None
    assert second.expiry > first.expiry
    starts = [str(one.metadata["pages_period_start"]) for one in (first, second)]
    assert starts[0] < starts[1]
    town.sdk.v1.subscriptions.update(bought.subscription, {"cancel_at_period_end": True})
    town.work()
    ending = town.licence(bought.subscription)
    assert ending.expiry == second.expiry - timedelta(days=3)
    town.pass_time(days=32)
    town.work()
    assert town.licence(bought.subscription).suspended


def test_money_that_goes_back_takes_access_with_it(town: Town) -> None:
    bought = town.buy("lifetime", town.customer())
    town.work()
    town.sdk.v1.refunds.create({"payment_intent": bought.payment_intent, "amount": 1000})
    town.work()
    assert not town.licence(bought.payment_intent).suspended
    assert Alarm("partial-refund", bought.payment_intent) in town.remember("open_alarms")
    town.sdk.v1.refunds.create({"payment_intent": bought.payment_intent})
    town.work()
    assert town.licence(bought.payment_intent).suspended


def test_a_dispute_suspends(town: Town) -> None:
    bought = town.buy("lifetime", town.customer(), DISPUTED)
    town.work()
    assert town.licence(bought.payment_intent).suspended
    assert Alarm("dispute-open", bought.payment_intent) in town.remember("open_alarms")


def test_a_second_subscription_takes_the_place_of_the_first(town: Town) -> None:
    customer = town.customer()
    first = town.buy("developer", customer)
    town.work()
    key = town.licence(first.subscription).key
    town.pass_time(days=2)
    second = town.buy("professional", customer)
    assert town.work().waiting == 0
    licence = town.licence(first.subscription)
    assert (licence.plan, licence.key, licence.suspended) == ("professional", key, False)
    assert town.sdk.v1.subscriptions.retrieve(first.subscription).status == "canceled"
    assert town.sdk.v1.subscriptions.retrieve(second.subscription).status == "active"
    assert Alarm("double-purchase", first.subscription) in town.remember("open_alarms")
    assert town.sdk.v1.customers.retrieve(customer).balance < -1000, "what was not used is credit"
    town.work(seed=1)
    assert town.count_licences() == 1


@pytest.mark.parametrize("side", ["payments", "keygen"])
@pytest.mark.parametrize("kind", ["status", "status-after", "no-reply", "no-request"])
def test_faults_on_either_side_only_delay(town: Town, side: str, kind: str) -> None:
    bought = town.buy("developer", town.customer())
    town.work(rounds=0)
    faults = getattr(town, side).controls.faults
    faults.add(Fault(kind, path="/v1/", times=3, status=503))  # type: ignore[arg-type]
    assert town.work(rounds=30, listen=False).waiting == 0
    licence = town.licence(bought.subscription)
    assert (licence.plan, licence.suspended, town.count_licences()) == ("developer", False, 1)


@pytest.mark.parametrize("after", [False, True])
def test_a_power_cut_at_any_step_changes_nothing_in_the_end(town: Town, after: bool) -> None:
    """The hardest case: a second subscription, so that something is cancelled on the way."""
    number, blew = 0, True
    while blew:
        number += 1
        customer = town.customer(f"{number}@example.com")
        first = town.buy("developer", customer)
        town.work()
        town.pass_time(days=1)
        second = town.buy("startup", customer)
        fuse = Fuse(number, after)
        town.work(fuse=fuse)
        blew = fuse.blown
        town.pass_time(minutes=3)  # A dead worker's lease runs out.
        assert town.work(listen=False, rounds=3).waiting == 0
        licence = town.licence(first.subscription)
        assert (licence.plan, licence.suspended) == ("startup", False)
        assert town.sdk.v1.subscriptions.retrieve(first.subscription).status == "canceled"
        assert town.sdk.v1.subscriptions.retrieve(second.subscription).status == "active"
        assert Alarm("double-purchase", first.subscription) in town.remember("open_alarms")
        mails = [one for one in town.remember("due_messages") if one.customer == customer]
        assert [one.kind for one in mails] == ["licence"]
        assert town.count_licences() == number
    assert number > 8
