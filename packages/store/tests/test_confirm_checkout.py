"""Back from paying: what became of the purchase, and what having just paid proves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Literal

import pytest
from ledger_places import MINUTE, NOW, event, in_memory, leased, waiting
from purchases_made import bought, lifetime, subscription
from stand_ins import Desk, Works

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.fulfilment import licence_id
from shimmy_store.errors import LicensingError, PaymentsError, StoreError
from shimmy_store.ports.checkout import CheckoutSession
from shimmy_store.use_cases import confirm_checkout as module
from shimmy_store.use_cases.confirm_checkout import PROOF_FOR, Confirmation, confirm_checkout

PAID = CheckoutSession("cs_1", "paid", "cus_1", livemode=False, paid_at=NOW - MINUTE)
TICK = timedelta(microseconds=1)


@dataclass
class Scene:
    """A session at Stripe, and the works that fulfil it."""

    works: Works
    desk: Desk = field(default_factory=Desk)

    async def confirm(self, session: CheckoutSession = PAID, name: str = "cs_1") -> Confirmation:
        self.desk.sessions["cs_1"] = session
        return await confirm_checkout(name, self.desk, self.works.fulfilment(), livemode=False)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.005)


def tell(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def told(ledger: SqlLedger) -> None:
        scene = Scene(Works(ledger, NOW))
        scene.works.till.bought["cus_1"] = bought("cus_1", subscription(age=MINUTE))
        await story(scene)

    in_memory().tell(told)


@pytest.mark.parametrize("state", ["open", "expired", "processing"])
def test_what_is_not_paid_is_said_and_makes_nothing(
    state: Literal["open", "expired", "processing"],
) -> None:
    async def story(scene: Scene) -> None:
        for customer in ("", "cus_1"):
            found = await scene.confirm(replace(PAID, state=state, customer=customer, paid_at=None))
            assert found == Confirmation(state)
        assert scene.works.till.asked == []
        assert scene.works.cabinet.issued == {}

    tell(story)


def test_what_is_paid_is_ready_with_its_licence_and_mail() -> None:
    async def story(scene: Scene) -> None:
        assert await scene.confirm() == Confirmation("ready", "cus_1", NOW + 29 * MINUTE)
        assert list(scene.works.cabinet.issued) == [licence_id("sub_1")]
        assert await waiting(scene.works.ledger) == [f"licence/{licence_id('sub_1')}"]
        asked = len(scene.works.till.asked)
        assert (await scene.confirm()).outcome == "ready"
        assert len(scene.works.till.asked) == asked, "what is settled since is not looked at again"

    tell(story)


def test_sessions_that_are_not_ours_are_unknown() -> None:
    async def story(scene: Scene) -> None:
        assert await scene.confirm(name="cs_2") == Confirmation("unknown")
        assert await scene.confirm(replace(PAID, livemode=True)) == Confirmation("unknown")
        assert scene.works.till.asked == []

    tell(story)


def test_paid_by_nobody_yet_is_processing() -> None:
    async def story(scene: Scene) -> None:
        for odd in (replace(PAID, customer=""), replace(PAID, paid_at=None)):
            assert await scene.confirm(odd) == Confirmation("processing")

    tell(story)


@pytest.mark.parametrize(
    ("age", "proves"),
    [
        (timedelta(0), True),
        (PROOF_FOR - TICK, True),
        (PROOF_FOR, False),
        (PROOF_FOR + 90 * MINUTE, False),
    ],
)
def test_having_paid_proves_something_for_half_an_hour(age: timedelta, proves: bool) -> None:
    """However often it is asked: asking again makes it last no longer."""

    async def story(scene: Scene) -> None:
        paid_at = NOW - age
        for _ in range(2):
            found = await scene.confirm(replace(PAID, paid_at=paid_at))
            assert found.outcome == "ready"
            assert found.proven_until == (paid_at + timedelta(minutes=30) if proves else None)

    tell(story)


def test_what_the_webhooks_worker_makes_meanwhile_is_ready() -> None:
    async def story(scene: Scene) -> None:
        ledger = scene.works.ledger
        lease = await leased(ledger, "cus_1", "another worker")
        ask, refused = ledger.lease_customer, asyncio.Event()

        async def watched(*told: Any) -> Any:
            found = await ask(*told)
            refused.set()
            return found

        ledger.lease_customer = watched  # type: ignore[method-assign, assignment]

        async def other() -> None:
            await refused.wait()
            record = replace(lease.record, origin="sub_1")
            assert await ledger.settle_customer(lease, record, [], NOW)

        found, _ = await asyncio.gather(scene.confirm(), other())
        assert found.outcome == "ready"
        assert scene.works.till.asked == [], "the other one has done it"

    tell(story)


def test_what_somebody_works_on_for_long_is_being_prepared() -> None:
    async def story(scene: Scene) -> None:
        await leased(scene.works.ledger, "cus_1", "another")
        assert (await scene.confirm()).outcome == "preparing"

    tell(story)


def test_what_was_settled_before_the_payment_is_looked_at_again() -> None:
    async def story(scene: Scene) -> None:
        works = scene.works
        assert (await scene.confirm()).outcome == "ready"
        works.now = NOW + 5 * MINUTE
        more = subscription(name="sub_2", plan="startup", age=-4 * MINUTE)
        works.till.bought["cus_1"] = bought("cus_1", subscription(age=MINUTE), more)
        found = await scene.confirm(replace(PAID, paid_at=NOW + 4 * MINUTE))
        assert found == Confirmation("ready", "cus_1", NOW + 34 * MINUTE)
        (issued,) = works.cabinet.issued.values()
        assert (issued.plan, works.till.cancelled) == ("startup", ["sub_1"])

    tell(story)


def test_a_record_without_a_licence_is_not_one() -> None:
    """Somebody looked at the customer after the payment, and Stripe did not tell of it yet."""

    async def story(scene: Scene) -> None:
        works = scene.works
        held = works.till.bought.pop("cus_1")
        assert (await scene.confirm()).outcome == "preparing"
        assert works.cabinet.issued == {}
        works.till.bought["cus_1"] = held
        assert (await scene.confirm()).outcome == "ready"

    tell(story)


@pytest.mark.parametrize("kind", [PaymentsError, LicensingError])
def test_a_fault_is_a_wait_and_an_error_is_an_error(kind: type[StoreError]) -> None:
    async def story(scene: Scene) -> None:
        failing = scene.works.till.failing
        failing["cus_1"] = kind("cut-off", "", retryable=True)
        found = await scene.confirm()
        assert found == Confirmation("preparing", "cus_1", NOW + 29 * MINUTE)
        failing["cus_1"] = kind("refused", "")
        with pytest.raises(kind) as raised:
            await scene.confirm()
        assert raised.value is failing["cus_1"]
        del failing["cus_1"]
        assert (await scene.confirm()).outcome == "ready", "no lease was left behind"

    tell(story)


def test_webhook_and_browser_at_once_make_one_licence() -> None:
    async def story(scene: Scene) -> None:
        works = scene.works
        works.till.bought["cus_1"] = bought("cus_1", lifetime(age=MINUTE))
        await works.ledger.add_event(event("e1"), "pending")
        found = await asyncio.gather(*(scene.confirm() for _ in range(8)))
        assert {one.outcome for one in found} == {"ready"}
        assert list(works.cabinet.issued) == [licence_id("pi_1")]
        assert len(await waiting(works.ledger)) == 1

    tell(story)
