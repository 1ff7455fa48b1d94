"""One round over what is due: everybody has a turn, and nothing that fails is tried without end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from ledger_places import MINUTE, NOW, a_link, due, event, in_memory, leased
from purchases_made import DAY, bought, lifetime, subscription
from stand_ins import Till, Works

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.fulfilment import Alarm, licence_id
from shimmy_store.domain.purchases import Purchases
from shimmy_store.domain.retry import PARK_AFTER, Crash
from shimmy_store.errors import LedgerError, LicensingError, PaymentsError
from shimmy_store.ports.ledger import Lease
from shimmy_store.use_cases import sweep_events as module
from shimmy_store.use_cases.sweep_events import Swept, sweep_events
from shimmy_store.use_cases.watch_work import watch_work


@dataclass
class SlowTill(Till):
    """Some are only answered when the test says so."""

    slow: set[str] = field(default_factory=set)
    answer: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most: int = 0

    async def fetch(self, customer: str) -> Purchases:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0)
            if customer in self.slow:
                await self.answer.wait()
            return await super().fetch(customer)
        finally:
            self.at_once -= 1


@dataclass
class Floor:
    """A sweeper with slow Stripe, on a ledger in memory."""

    works: Works
    till: SlowTill

    @property
    def ledger(self) -> SqlLedger:
        return self.works.ledger

    async def hear(self, *customers: str, name: str = "e") -> None:
        for number, customer in enumerate(customers):
            await self.ledger.add_event(event(f"{name}{number}_{customer}", customer), "pending")

    async def sweep(self) -> Swept:
        return await sweep_events(self.works.fulfilment(), lambda: 1.0)

    async def eventually(self, look: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await look():
                await asyncio.sleep(0.005)


def tell(story: Callable[[Floor], Awaitable[None]]) -> None:
    async def told(ledger: SqlLedger) -> None:
        till = SlowTill()
        await story(Floor(Works(ledger, NOW, till), till))

    in_memory().tell(told)


# Who has a turn


def test_a_customer_with_many_events_starves_nobody() -> None:
    async def story(floor: Floor) -> None:
        await floor.hear(*["cus_busy"] * 150)
        await floor.hear(*(f"cus_{number}" for number in range(20)))
        assert await floor.sweep() == Swept(170, 0)
        assert sorted(floor.till.asked) == sorted(
            ["cus_busy", *(f"cus_{number}" for number in range(20))]
        ), "each is looked at once"

    tell(story)


def test_who_somebody_else_works_on_takes_no_place() -> None:
    async def story(floor: Floor) -> None:
        leases = [await leased(floor.ledger, f"cus_{number}", "another") for number in range(30)]
        await floor.hear(*(one.record.customer for one in leases), "cus_free")
        assert await floor.sweep() == Swept(1, 0)
        assert floor.till.asked == ["cus_free"]

    tell(story)


def test_one_who_is_slow_holds_up_nobody_not_even_those_heard_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LOOK_SECONDS", 0.01)

    async def story(floor: Floor) -> None:
        floor.till.slow = {"cus_slow"}
        await floor.hear("cus_slow", *(f"cus_{number}" for number in range(30)))
        sweeping = asyncio.create_task(floor.sweep())
        await floor.eventually(lambda: only_one_left(floor))
        for customer in ("cus_new", "cus_0"):
            await floor.hear(customer, name="later")
            await floor.eventually(lambda: only_one_left(floor))
        assert not sweeping.done()
        floor.till.answer.set()
        assert await sweeping == Swept(33, 0)

    async def only_one_left(floor: Floor) -> bool:
        return (await floor.ledger.take_stock()).events.get("pending") == 1

    tell(story)


def test_a_few_are_looked_at_at_once() -> None:
    async def story(floor: Floor) -> None:
        customers = [f"cus_{number}" for number in range(20)]
        floor.till.slow = set(customers)
        await floor.hear(*customers)
        sweeping = asyncio.create_task(floor.sweep())
        await floor.eventually(lambda: all_places_taken(floor))
        floor.till.answer.set()
        assert await sweeping == Swept(20, 0)
        assert floor.till.most == 8

    async def all_places_taken(floor: Floor) -> bool:
        return floor.till.at_once == 8

    tell(story)


def test_an_event_of_nobody_is_looked_up_for_itself() -> None:
    async def story(floor: Floor) -> None:
        floor.till.bought = {"cus_1": bought("cus_1", lifetime())}
        for number, payment in enumerate(("pi_1", "pi_unknown", "")):
            await floor.ledger.add_event(event(f"e{number}", "", payment), "pending")
        assert await floor.sweep() == Swept(3, 0)
        assert floor.till.asked == ["cus_1"]
        assert set(floor.works.cabinet.issued) == {licence_id("pi_1")}

    tell(story)


def test_who_cannot_be_settled_now_waits_for_another_round() -> None:
    """One who was merged into somebody whom another worker looks at: not leased, and busy."""

    async def story(floor: Floor) -> None:
        await floor.ledger.add_link(a_link())
        leases = [await leased(floor.ledger, f"cus_{number}") for number in (1, 2)]
        assert await floor.ledger.merge_customers(leases[0], leases[1], [], "l1", NOW)
        held = await leased(floor.ledger, "cus_1", "another")
        await floor.hear("cus_2", "cus_3")
        async with asyncio.timeout(60):
            assert await floor.sweep() == Swept(1, 1)
        await floor.ledger.release_customer(held, NOW)
        while (await floor.sweep()).settled:
            pass
        assert (await floor.ledger.take_stock()).events == {"done": 3}

    tell(story)


def test_a_sweeper_that_is_stopped_leaves_nobody_at_work() -> None:
    async def story(floor: Floor) -> None:
        floor.till.slow = {"cus_slow"}
        await floor.hear("cus_slow")
        sweeping = asyncio.create_task(floor.sweep())
        await asyncio.sleep(0.02)
        sweeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sweeping
        # A question that D1 was asked already is waited for by nobody, and ends by itself.
        for _ in range(500):
            if asyncio.all_tasks() == {asyncio.current_task()}:
                break
            await asyncio.sleep(0.01)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        await leased(floor.ledger, "cus_slow"), "and no lease"

    tell(story)


def test_a_sweeper_stopped_while_it_is_given_a_lease_gives_it_back() -> None:
    """A ledger that is far away gives it, and whoever asked has gone."""

    async def story(floor: Floor) -> None:
        lease, given = floor.ledger.lease_customer, asyncio.Event()

        async def slowly(*told: Any) -> Lease | None:
            found = await lease(*told)
            given.set()
            await asyncio.sleep(0.01)
            return found

        floor.ledger.lease_customer = slowly  # type: ignore[method-assign, assignment]
        await floor.hear("cus_far")
        sweeping = asyncio.create_task(floor.sweep())
        await given.wait()
        sweeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sweeping
        floor.ledger.lease_customer = lease  # type: ignore[method-assign]
        await leased(floor.ledger, "cus_far")

    tell(story)


def test_a_ledger_that_fails_is_told_once_the_others_have_ended() -> None:
    async def story(floor: Floor) -> None:
        floor.till.slow = {"cus_slow"}
        await floor.hear("cus_bad", "cus_slow")
        floor.till.crashing["cus_bad"] = ZeroDivisionError()

        class Failing(SqlLedger):
            async def postpone_event(self, *_: object) -> None:
                floor.till.answer.set()
                raise LedgerError("ledger-unusable", "", retryable=True)

        floor.works.ledger = Failing(floor.ledger._database)
        with pytest.raises(LedgerError):
            await floor.sweep()
        assert "cus_slow" in floor.till.asked
        assert asyncio.all_tasks() == {asyncio.current_task()}

    tell(story)


# What fails


def test_a_mistake_of_ours_waits_like_any_failure_and_is_parked() -> None:
    async def story(floor: Floor) -> None:
        floor.till.crashing["cus_1"] = ZeroDivisionError()
        await floor.hear("cus_1", "cus_2")
        assert await floor.sweep() == Swept(1, 1, (Crash("ZeroDivisionError", "e0_cus_1"),))
        assert await floor.sweep() == Swept(0, 0), "not again at once"
        end = NOW + PARK_AFTER + timedelta(hours=2)
        while floor.works.now < end:
            floor.works.now += timedelta(minutes=30)
            await floor.sweep()
        assert (await floor.ledger.take_stock()).events == {"done": 1, "parked": 1}
        assert await floor.ledger.open_alarms() == [Alarm("event-parked", "e0_cus_1")]

    tell(story)


@pytest.mark.parametrize(
    ("error", "alarm"),
    [
        (PaymentsError("payments-not-allowed", "", retryable=True), "stripe"),
        (LicensingError("licensing-not-allowed", "", retryable=True), "keygen"),
    ],
)
def test_a_key_that_is_refused_parks_nothing_and_is_one_alarm(
    error: PaymentsError | LicensingError, alarm: str
) -> None:
    async def story(floor: Floor) -> None:
        customers = [f"cus_{number}" for number in range(5)]
        floor.till.failing = dict.fromkeys(customers, error)
        await floor.hear(*customers)
        for _ in range(20):
            assert (await floor.sweep()).waiting in (0, 5)
            floor.works.now += timedelta(minutes=30)
        assert await floor.ledger.open_alarms() == [Alarm("credentials-refused", alarm)]
        floor.till.failing = {}
        floor.works.now += timedelta(hours=1)
        assert await floor.sweep() == Swept(5, 0)

    tell(story)


def test_all_events_of_a_customer_that_fails_wait_and_one_heard_later_is_tried() -> None:
    async def story(floor: Floor) -> None:
        floor.till.failing = {"cus_1": PaymentsError("payments-unreachable", "", retryable=True)}
        await floor.hear(*["cus_1"] * 120)
        assert await floor.sweep() == Swept(0, 120)
        assert await due(floor.ledger) == []
        assert len(floor.till.asked) == 1
        floor.till.failing = {}
        await floor.hear("cus_1", name="later")
        assert await floor.sweep() == Swept(1, 0)
        assert (await floor.ledger.take_stock()).events == {"done": 121}

    tell(story)


# What time alone changes


def test_a_cancelled_plan_gives_way_to_lifetime_when_its_month_ends() -> None:
    """Nothing happens at Stripe then: no event tells of it."""

    async def story(floor: Floor) -> None:
        ending = subscription("canceled", plan="startup", name="sub_1", through=NOW + 3 * DAY)
        floor.till.bought = {"cus_1": bought("cus_1", ending, lifetime(age=20 * DAY))}
        await floor.hear("cus_1")
        assert await floor.sweep() == Swept(1, 0)
        (held,) = floor.works.cabinet.issued.values()
        assert held.plan == "startup"
        floor.works.now += 3 * DAY - MINUTE
        assert await floor.sweep() == Swept(0, 0)
        floor.works.now += MINUTE
        assert await floor.sweep() == Swept(1, 0)
        (held,) = floor.works.cabinet.issued.values()
        assert (held.plan, held.suspended) == ("lifetime", False)

    tell(story)


def test_a_look_that_fails_when_time_has_come_is_tried_again() -> None:
    async def story(floor: Floor) -> None:
        floor.till.bought = {"cus_1": bought("cus_1", subscription("past_due", through=NOW + DAY))}
        await floor.hear("cus_1")
        await floor.sweep()
        floor.works.now += 4 * DAY
        floor.till.failing = {"cus_1": PaymentsError("payments-unreachable", "", retryable=True)}
        assert await floor.sweep() == Swept(0, 1)
        assert await floor.sweep() == Swept(0, 0)
        floor.till.failing = {}
        floor.works.now += MINUTE
        assert await floor.sweep() == Swept(1, 0)
        (held,) = floor.works.cabinet.issued.values()
        assert held.suspended

    tell(story)


# What waits too long


def test_work_that_waits_for_half_an_hour_is_an_alarm_once() -> None:
    async def story(floor: Floor) -> None:
        await floor.hear("cus_1")
        for minutes in (0, 30):
            await watch_work(floor.ledger, NOW + minutes * MINUTE)
            assert await floor.ledger.open_alarms() == []
        for minutes in (31, 32):
            await watch_work(floor.ledger, NOW + minutes * MINUTE)
            assert await floor.ledger.open_alarms() == [Alarm("work-late", "events")]
        await floor.sweep()
        assert await floor.ledger.acknowledge_alarm(Alarm("work-late", "events"), NOW + DAY)
        await watch_work(floor.ledger, NOW + 9 * DAY)
        assert await floor.ledger.open_alarms() == [], "what is settled is not late"

    tell(story)


def test_what_is_parked_or_not_due_yet_is_not_late() -> None:
    async def story(floor: Floor) -> None:
        await floor.hear("cus_1")
        await floor.ledger.postpone_event("e0_cus_1", "refused", None)
        floor.till.bought = {"cus_2": bought("cus_2", subscription())}
        await floor.hear("cus_2")
        await floor.sweep()
        await watch_work(floor.ledger, NOW + 9 * DAY)
        codes = {one.code for one in await floor.ledger.open_alarms()}
        assert codes == {"event-parked", "work-late"}, "its licence's mail waits"
        subjects = [one.subject for one in await floor.ledger.open_alarms()]
        assert "events" not in subjects

    tell(story)
