"""Many customers do anything, anything goes wrong, and in the end everything agrees.

They buy, change plans, fail to pay, are refunded, dispute, cancel and merge; webhooks come twice,
reordered or never; the store is killed before or after any call. Once it is left in peace, Keygen
has what follows from Stripe's truth, and every mail went where it belongs.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import tempfile
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import stripe
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from town import CATALOG, DISPUTED, GOOD, REFUSED_LATER, Fuse, PowerCut, Town, open_town

from shimmy_store.adapters.jinja_letters import JinjaLetters
from shimmy_store.adapters.signed_links import SignedLinks
from shimmy_store.domain.catalog import parse_catalog
from shimmy_store.domain.convergence import plan_convergence
from shimmy_store.domain.fulfilment import decide_fulfilment, licence_id
from shimmy_store.domain.purchases import Purchases, combine_purchases
from shimmy_store.ports.ledger import CustomerRecord
from shimmy_store.ports.mail import Mail
from shimmy_store.use_cases.fulfil_customer import Fulfilment
from shimmy_store.use_cases.merge_customers import merge_customers
from shimmy_store.use_cases.reconcile_customers import reconcile_customers
from shimmy_store.use_cases.send_messages import PostOffice, send_messages
from shimmy_store.use_cases.sweep_events import sweep_events

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

MONTHLY = ("developer", "professional", "startup", "enterprise")
EMAILS = ("ada@example.com", "Ada@Example.com", "bob@example.com")
SIGNER = SignedLinks(("a-secret-of-this-test-that-is-long-enough",))
PLANS = st.sampled_from((*MONTHLY, "lifetime"))
WHICH = st.integers(0, 99)
FUSES = st.tuples(st.none() | st.integers(1, 40), st.booleans())
EXAMPLES = int(os.environ.get("SHIMMY_MACHINE_EXAMPLES", "20"))


@dataclass
class Postman:
    """Keeps what it is given."""

    mails: list[Mail] = field(default_factory=list)

    async def send(self, mail: Mail) -> None:
        self.mails.append(mail)


class StoreMachine(RuleBasedStateMachine):
    """Rules are what customers, the operator, Stripe's deliveries and the power do."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.town: Town = self.stack.enter_context(open_town(folder / "ledger.sqlite"))
        self.customers: list[str] = []
        self.addresses: dict[str, set[str]] = {}
        self.postman = Postman()

    def teardown(self) -> None:
        try:
            self.settle_and_check()
        finally:
            self.stack.close()

    # What customers do ------------------------------------------------------------------------

    @initialize(plan=PLANS)
    def first(self, plan: str) -> None:
        self.join("ada@example.com", plan)

    @precondition(lambda self: len(self.customers) < 4)
    @rule(email=st.sampled_from(EMAILS), plan=PLANS)
    def join(self, email: str, plan: str) -> None:
        customer = self.town.customer(email)
        self.customers.append(customer)
        self.addresses[customer] = {email}
        self.town.buy(plan, customer)
        self.heed()

    @rule(
        which=WHICH, plan=PLANS, card=st.sampled_from((GOOD, GOOD, GOOD, REFUSED_LATER, DISPUTED))
    )
    def buy(self, which: int, plan: str, card: str) -> None:
        with suppress(AssertionError):  # A card that attaches and then fails buys nothing.
            self.town.buy(plan, self.pick(which), card)

    @rule(
        which=WHICH,
        plan=st.sampled_from(MONTHLY),
        behavior=st.sampled_from(("always_invoice", "create_prorations", "none")),
        unpaid=st.sampled_from(("allow_incomplete", "error_if_incomplete")),
    )
    def change_plan(self, which: int, plan: str, behavior: str, unpaid: str) -> None:
        subscription = self.running(which)
        if subscription is not None:
            item = {"id": subscription["items"].data[0].id, "price": self.town.prices[plan]}
            order = {"items": [item], "proration_behavior": behavior, "payment_behavior": unpaid}
            with suppress(stripe.StripeError):
                self.town.sdk.v1.subscriptions.update(subscription.id, order)

    @rule(which=WHICH, days=st.sampled_from((1, 40)))
    def pause(self, which: int, days: int) -> None:
        subscription = self.running(which)
        if subscription is None or subscription.status != "active":
            return
        self.town.control(f"pause/{subscription.id}")
        self.town.pass_time(days=days)
        self.heed()
        with suppress(stripe.StripeError):
            self.town.sdk.v1.subscriptions.resume(subscription.id)

    @rule(which=WHICH, card=st.sampled_from(("pm_card_visa", "pm_card_chargeCustomerFail")))
    def change_card(self, which: int, card: str) -> None:
        customer = self.pick(which)
        method = self.town.sdk.v1.payment_methods.attach(card, {"customer": customer})
        default = {"invoice_settings": {"default_payment_method": method.id}}
        self.town.sdk.v1.customers.update(customer, default)
        subscription = self.running(which)
        if subscription is not None:
            change = {"default_payment_method": method.id}
            self.town.sdk.v1.subscriptions.update(subscription.id, change)

    @rule(which=WHICH, wish=st.sampled_from(("later", "keep", "now")))
    def cancel(self, which: int, wish: str) -> None:
        subscription = self.running(which)
        if subscription is None:
            return
        with suppress(stripe.InvalidRequestError):
            if wish == "now":
                self.town.sdk.v1.subscriptions.cancel(subscription.id)
            else:
                change = {"cancel_at_period_end": wish == "later"}
                self.town.sdk.v1.subscriptions.update(subscription.id, change)

    @rule(which=WHICH, email=st.sampled_from(EMAILS))
    def move(self, which: int, email: str) -> None:
        customer = self.pick(which)
        self.town.sdk.v1.customers.update(customer, {"email": email})
        self.addresses[customer].add(email)

    @rule(which=WHICH, amount=st.sampled_from((None, 100)))
    def refund(self, which: int, amount: int | None) -> None:
        charge = self.charge(which)
        if charge is not None:
            order = {"charge": charge.id, **({"amount": amount} if amount else {})}
            with suppress(stripe.StripeError):
                self.town.sdk.v1.refunds.create(order)
            self.heed()

    @rule(which=WHICH, ending=st.sampled_from(("won", "lost", None)), inquiry=st.booleans())
    def dispute(self, which: int, ending: str | None, inquiry: bool) -> None:
        charge = self.charge(which)
        if charge is None or charge.disputed or charge.refunded:
            return
        opened = self.town.control("disputes", {"charge": charge.id, "inquiry": inquiry})
        self.heed()
        if ending and not inquiry:
            self.town.control(f"disputes/{opened['id']}", {"status": ending})
            self.heed()

    @rule(days=st.sampled_from((1, 10, 31, 40)))
    def wait(self, days: int) -> None:
        self.town.pass_time(days=days, hours=2)

    # What the store does, and what goes wrong with it -------------------------------------------

    @rule(seed=st.integers(0, 2**16), fuse=FUSES, lost=st.booleans())
    def work(self, seed: int, fuse: tuple[int | None, bool], lost: bool) -> None:
        """Hear webhooks, some twice and in any order or none of them, and be killed anywhere."""
        asyncio.run(self._work(random.Random(seed), Fuse(*fuse), lost=lost))
        if fuse[0] is not None:
            self.town.pass_time(minutes=3)  # A dead worker's lease runs out.

    def heed(self) -> None:
        """Everything goes well for once."""
        asyncio.run(self._work(random.Random(0), Fuse(None), lost=False))

    async def _work(self, chance: random.Random, fuse: Fuse, *, lost: bool) -> None:
        async with self.town.fulfilment(fuse) as fulfilment:
            if not lost:
                await self.town._hear(fulfilment.ledger, chance)
            with suppress(PowerCut):
                await sweep_events(fulfilment, chance.random)
                await send_messages(self.office(fulfilment, fuse), chance.random)

    @precondition(lambda self: self.offers())
    @rule(which=WHICH, fuse=FUSES)
    def merge(self, which: int, fuse: tuple[int | None, bool]) -> None:
        """Press the button that a mail offered."""
        offers = self.offers()
        asyncio.run(self._merge(offers[which % len(offers)], Fuse(*fuse)))
        self.town.pass_time(minutes=3)

    def offers(self) -> list[str]:
        return [
            found[1]
            for mail in self.postman.mails
            if (found := re.search(r"/merge\?token=(\S+)", mail.written.text))
        ]

    async def _merge(self, token: str, fuse: Fuse) -> None:
        async with self.town.fulfilment(fuse) as fulfilment:
            with suppress(PowerCut):
                await merge_customers(token, SIGNER, fulfilment)

    # In the end ---------------------------------------------------------------------------------

    def settle_and_check(self) -> None:
        self.town.pass_time(minutes=3)
        records = asyncio.run(self._settle_and_check())
        self._check_mails(records)
        self.check_truth(records)

    async def _settle_and_check(self) -> dict[str, CustomerRecord]:
        async with self.town.fulfilment() as fulfilment:
            looked = [one async for one in reconcile_customers(fulfilment)]
            assert {one.outcome for one in looked} <= {"settled"}, looked
            while (await sweep_events(fulfilment, random.random)).settled:
                pass
            office = self.office(fulfilment, Fuse(None))
            while (await send_messages(office, random.random)).sent:
                pass
            records = {}
            for customer in self.customers:
                record = await fulfilment.ledger.customer(customer)
                assert record is not None
                records[customer] = record
            for record in records.values():
                await self._check_licence(record, records, fulfilment)
            stock = await fulfilment.ledger.take_stock()
            assert (stock.oldest_event, stock.messages_waiting) == (None, 0)
        origins = {one.origin for one in records.values()} - {None}
        assert self.town.count_licences() == len(origins)
        return records

    def check_truth(self, records: dict[str, CustomerRecord]) -> None:
        """The promises once more, from Stripe's own objects and none of the store's code."""
        groups: dict[str, list[str]] = {}
        for customer, record in records.items():
            groups.setdefault(record.merged_into or customer, []).append(customer)
        for members in groups.values():
            bought = [one for member in members for one in self.town.bought(member)]
            collecting = [one for one in bought if one.collects]
            usable = [
                licence
                for member in members
                if (origin := records[member].origin)
                and not (licence := self.town.licence(origin)).suspended
                and (licence.expiry is None or licence.expiry > self.town.now())
            ]
            assert len(usable) <= 1, "one customer has one licence"
            assert len(collecting) <= 1, "nobody pays twice"
            sound = [one for one in bought if one.running and one.kept]
            if sound:
                assert usable, "who pays has a licence"
            if all(one.gone for one in bought):
                assert not usable, "no licence for money that went back"

    async def _check_licence(
        self,
        record: CustomerRecord,
        records: dict[str, CustomerRecord],
        fulfilment: Fulfilment,
    ) -> None:
        own = await fulfilment.payments.fetch(record.customer)
        members = [one for one in records.values() if one.merged_into == record.customer]
        merged: list[Purchases] = []
        for one in members:
            bought = await fulfilment.payments.fetch(one.customer)
            merged.append(replace(bought, given_up=frozenset(one.given_up)))
        everything = combine_purchases(own, merged)
        now = self.town.now()
        if record.merged_into:
            everything = own
        decision = decide_fulfilment(everything, now, record.origin)
        if decision.licence is None:
            assert record.origin is None
            return
        wanted = decision.licence
        if record.merged_into:
            wanted = replace(wanted, suspended="merged")
        else:
            assert decision.cancel == (), "nobody pays twice"
        assert record.origin is not None
        assert wanted.id == licence_id(record.origin)
        issued = await fulfilment.licences.find(wanted.id)
        assert plan_convergence(wanted, record.customer, issued, now) == ()
        assert issued is not None
        assert issued.suspended == (wanted.suspended is not None)

    def _check_mails(self, records: dict[str, CustomerRecord]) -> None:
        """Each message at least once; a key only ever to an address of its own customer."""
        sent = {mail.key for mail in self.postman.mails}
        for customer, record in records.items():
            assert set(self.town.messages(customer)) <= sent
            if record.origin is None:
                continue
            issued = self.town.licence(record.origin)
            if not issued.suspended:
                assert f"licence/{issued.id}" in sent
            told = {one.to for one in self.postman.mails if issued.key in one.written.text}
            assert told <= self.addresses[customer], "a key to a stranger"

    # Hands ---------------------------------------------------------------------------------------

    def office(self, fulfilment: Fulfilment, fuse: Fuse) -> PostOffice:
        return PostOffice(
            fulfilment.ledger,
            fulfilment.licences,
            fuse.guard(self.postman),
            JinjaLetters(),
            SIGNER,
            parse_catalog(CATALOG),
            "http://127.0.0.1:9",
            self.town.now,
        )

    def pick(self, which: int) -> str:
        return self.customers[which % len(self.customers)]

    def running(self, which: int) -> Any:
        listed = self.town.sdk.v1.subscriptions.list({"customer": self.pick(which)}).data
        return listed[which % len(listed)] if listed else None

    def charge(self, which: int) -> Any:
        listed = self.town.sdk.v1.charges.list({"customer": self.pick(which)}).data
        paid = [one for one in listed if one.paid]
        return paid[which % len(paid)] if paid else None


# Each example has two simulators of its own: making a failure smaller would take an hour.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
StoreMachine.TestCase.settings = settings(
    max_examples=EXAMPLES, stateful_step_count=24, phases=PHASES
)
TestStoreMachine = StoreMachine.TestCase
