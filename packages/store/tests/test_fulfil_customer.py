"""Looking at one customer: never two hands at once, and one licence whatever comes in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from ledger_places import NOW, a_link, due, event, in_memory, leased
from purchases_made import DAY, bought, lifetime, subscription
from stand_ins import Cabinet, Till, Works

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.fulfilment import licence_id
from shimmy_store.domain.purchases import Purchases
from shimmy_store.errors import LedgerError, LicensingError
from shimmy_store.use_cases import fulfil_customer as module
from shimmy_store.use_cases.fulfil_customer import LEASE, fulfil_customer

Story = Callable[[Works], Awaitable[None]]


class _Forgetful(SqlLedger):
    """Cannot note what was done, once."""

    fails = True

    async def settle_customer(self, *given: Any) -> bool:
        self.fails, fails = False, self.fails
        if fails:
            raise LedgerError("ledger-unusable", "", retryable=True)
        return await super().settle_customer(*given)


def tell(story: Story, cabinet: Cabinet | None = None, till: Till | None = None) -> None:
    async def told(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW, till or Till(), cabinet or Cabinet())
        works.till.bought = {"cus_1": bought("cus_1", subscription())}
        await works.ledger.add_event(event("e1"), "pending")
        await story(works)

    in_memory().tell(told)


@dataclass
class _Endless(Cabinet):
    """Never answers."""

    async def find(self, identifier: Any) -> Any:
        await asyncio.sleep(3600)


def test_who_is_too_slow_gives_up_in_time_and_nobody_begins_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", timedelta(milliseconds=20))

    async def story(works: Works) -> None:
        async with asyncio.timeout(60):
            with pytest.raises(LicensingError) as slow:
                await fulfil_customer("cus_1", works.fulfilment())
        assert (slow.value.code, slow.value.retryable) == ("fulfilment-too-slow", True)
        # Keygen may still do what it was asked for last.
        assert await fulfil_customer("cus_1", works.fulfilment()) == "busy"
        works.now += LEASE
        works.cabinet = Cabinet()
        monkeypatch.undo()
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"

    tell(story, _Endless())


def test_who_waits_for_a_slow_one_does_not_give_that_one_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other one's lease lasts until what it asked for last is over."""
    monkeypatch.setattr(module, "_PATIENCE", timedelta(milliseconds=20))

    async def story(works: Works) -> None:
        await works.ledger.add_link(a_link())
        keeper, loser = [await leased(works.ledger, f"cus_{number}") for number in (1, 2)]
        assert await works.ledger.merge_customers(keeper, loser, [], "l1", NOW)
        with pytest.raises(LicensingError) as slow:
            await fulfil_customer("cus_2", works.fulfilment())
        assert slow.value.code == "fulfilment-too-slow"
        until = NOW + LEASE
        assert await works.ledger.lease_customer("cus_1", "another", NOW, until) is None
        assert await works.ledger.lease_customer("cus_2", "another", NOW, until) is not None

    tell(story, _Endless())


def test_patience_is_well_below_the_lease() -> None:
    assert module._PATIENCE + timedelta(seconds=30) <= LEASE
    assert timedelta(seconds=30) <= module._LONGEST_WRITE


@dataclass
class _Sleepy(Till):
    """The machine sleeps while Stripe answers; only the clock knows."""

    works: Works | None = None
    sleeps: timedelta = field(default_factory=timedelta)

    async def fetch(self, customer: str) -> Purchases:
        found = await super().fetch(customer)
        assert self.works is not None
        self.works.now += self.sleeps
        return found


@pytest.mark.parametrize("minutes", [1.1, 3])
def test_nothing_is_written_for_a_customer_who_may_be_another_ones(minutes: float) -> None:
    till = _Sleepy(sleeps=timedelta(minutes=minutes))

    async def story(works: Works) -> None:
        till.works = works
        # Two of them, so that there is something to end at Stripe, too.
        more = subscription(name="sub_2", plan="startup", age=DAY)
        works.till.bought = {"cus_1": bought("cus_1", subscription(), more)}
        with pytest.raises(LicensingError) as slow:
            await fulfil_customer("cus_1", works.fulfilment())
        assert slow.value.code == "fulfilment-too-slow"
        assert (works.cabinet.issued, till.cancelled) == ({}, [])
        works.till.bought = {"cus_1": bought("cus_1", subscription())}
        with pytest.raises(LicensingError):
            await fulfil_customer("cus_1", works.fulfilment())
        assert works.cabinet.issued == {}

    tell(story, till=till)


@dataclass
class _Interrupted(Cabinet):
    """Somebody else gets in between before the first write."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def create(self, step: Any) -> Any:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            await meanwhile()
        return await super().create(step)


@pytest.mark.parametrize("ends", ["well", "with an error"])
def test_who_was_overtaken_leaves_another_look_behind(ends: str) -> None:
    """Its write came last, and was decided first."""
    cabinet = _Interrupted()

    async def story(works: Works) -> None:
        async def overtake() -> None:
            later = works.now + LEASE
            lease = await works.ledger.lease_customer("cus_1", "other", later, later + LEASE)
            assert lease is not None
            assert await works.ledger.settle_customer(lease, lease.record, [], later)
            if ends != "well":
                raise LicensingError("licensing-unreachable", "", retryable=True)

        cabinet.meanwhile = overtake
        if ends == "well":
            assert await fulfil_customer("cus_1", works.fulfilment()) == "overtaken"
        else:
            with pytest.raises(LicensingError):
                await fulfil_customer("cus_1", works.fulfilment())
        (left,) = await due(works.ledger)
        assert left.startswith("overtaken ")
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        assert await due(works.ledger) == []

    tell(story, cabinet)


def test_an_older_payment_that_succeeds_late_makes_no_second_licence() -> None:
    """The licence was made, and that was not noted."""

    async def story(works: Works) -> None:
        processing = replace(lifetime(age=30 * DAY), status="processing")
        works.till.bought = {"cus_1": bought("cus_1", subscription(), processing)}
        works.ledger = _Forgetful(works.ledger._database)
        with pytest.raises(LedgerError):
            await fulfil_customer("cus_1", works.fulfilment())
        assert set(works.cabinet.issued) == {licence_id("sub_1")}
        paid = replace(processing, status="paid")
        works.till.bought = {"cus_1": bought("cus_1", subscription(), paid)}
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        assert set(works.cabinet.issued) == {licence_id("sub_1")}
        record = await works.ledger.customer("cus_1")
        assert record is not None
        assert record.origin == "sub_1"

    tell(story)


def test_when_to_look_again_is_noted_moved_and_taken_back() -> None:
    async def looked(works: Works, through: datetime | None) -> datetime | None:
        works.till.bought = {"cus_1": bought("cus_1", subscription("canceled", through=through))}
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        record = await works.ledger.customer("cus_1")
        assert record is not None
        return record.look_again

    async def story(works: Works) -> None:
        for days in (20, 9):
            assert await looked(works, NOW + days * DAY) == NOW + days * DAY
        assert await looked(works, NOW - 9 * DAY) is None

    tell(story)
