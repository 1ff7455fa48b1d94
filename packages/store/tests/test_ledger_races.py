"""Eight programs at one ledger: one winner each time, nothing twice, nothing lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ledger_places import MINUTE, NOW, Place, a_link, due, event, leased, notice

from shimmy_store.adapters.ledger_schema import MIGRATIONS, migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger

PROGRAMS = 8
CUSTOMERS = ["cus_1", "cus_2", "cus_3"]
EVENTS = [f"e{number}" for number in range(24)]


async def race(ledgers: list[SqlLedger], run: Callable[[SqlLedger], Awaitable[Any]]) -> list[Any]:
    """All of them at once."""
    return await asyncio.gather(*(run(one) for one in ledgers))


def test_the_tables_are_made_once_by_programs_that_start_together(place: Place) -> None:
    async def start() -> None:
        async with place.opened(PROGRAMS) as databases:
            taken = await asyncio.gather(*(migrate_ledger(one) for one in databases))
            assert sum(taken) == len(MIGRATIONS)
            assert await SqlLedger(databases[-1]).add_event(event("e1"), "pending")

    asyncio.run(start())


def test_each_right_is_ones(place: Place) -> None:
    async def story(ledgers: list[SqlLedger]) -> None:
        await ledgers[0].add_link(a_link())
        kept = await race(ledgers, lambda one: one.add_event(event("e1"), "pending"))
        used = await race(ledgers, lambda one: one.use_link("l1", "", NOW))
        leases = await race(
            ledgers, lambda one: one.lease_customer("cus_1", "a", NOW, NOW + MINUTE)
        )
        for won in (kept, used, leases):
            assert sum(bool(one) for one in won) == 1
        lease = next(one for one in leases if one)
        settled = await race(
            ledgers, lambda one: one.settle_customer(lease, lease.record, [notice("one")], NOW)
        )
        assert sum(settled) == 1
        tries = await race(ledgers, lambda one: one.count_try("a", 1))
        assert sorted(tries) == list(range(1, PROGRAMS + 1))

    place.tell_many(PROGRAMS, story)


def test_of_merges_with_one_link_one_happens(place: Place) -> None:
    async def story(ledgers: list[SqlLedger]) -> None:
        await ledgers[0].add_link(a_link())
        leases = [await leased(ledgers[0], f"cus_{number}") for number in range(2 * PROGRAMS)]
        pairs = zip(leases[::2], leases[1::2], strict=True)
        merged = await asyncio.gather(
            *(
                ledger.merge_customers(keeper, loser, [], "l1", NOW)
                for ledger, (keeper, loser) in zip(ledgers, pairs, strict=True)
            )
        )
        assert sum(merged) == 1
        winner = merged.index(True)
        for number in range(PROGRAMS):
            members = await ledgers[0].merged_into(f"cus_{2 * number}")
            assert len(members) == (number == winner)
        assert len(await due(ledgers[0])) == 1

    place.tell_many(PROGRAMS, story)


def test_messages_go_to_one_program_each(place: Place) -> None:
    names = [str(number) for number in range(40)]

    async def send(ledger: SqlLedger) -> list[str]:
        sent = []
        while taken := await ledger.take_messages(NOW, NOW + MINUTE, 3):
            for one in taken:
                await ledger.mark_sent(one.notice.key, NOW)
                sent.append(one.notice.key)
        return sent

    async def story(ledgers: list[SqlLedger]) -> None:
        async def add(ledger: SqlLedger) -> None:
            for name in names:
                await ledger.add_message(notice(name), "cus_1", NOW)

        await race(ledgers, add)
        sent = await race(ledgers, send)
        assert sorted(key for some in sent for key in some) == sorted(names)
        assert (await ledgers[0].take_stock()).messages_waiting == 0

    place.tell_many(PROGRAMS, story)


class Log:
    """What each of the programs saw happen."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.settled: list[str] = []
        self.sent: list[str] = []

    async def hear(self, ledger: SqlLedger) -> None:
        for number, name in enumerate(EVENTS):
            customer = CUSTOMERS[number % len(CUSTOMERS)]
            if await ledger.add_event(event(name, customer), "pending"):
                self.heard.append(name)

    async def sweep(self, ledger: SqlLedger) -> None:
        for customer in CUSTOMERS:
            lease = await ledger.lease_customer(customer, "a", NOW, NOW + MINUTE)
            if lease is not None:
                pending = await ledger.due_events(NOW, 100)
                told = [notice(one.id) for one in pending if one.customer == customer]
                assert await ledger.settle_customer(lease, lease.record, told, NOW)
                self.settled.append(customer)
        for one in await ledger.take_messages(NOW, NOW + MINUTE, 2):
            self.sent.append(one.notice.key)
            await ledger.mark_sent(one.notice.key, NOW)

    async def work(self, ledger: SqlLedger) -> None:
        for _ in range(3):
            await self.sweep(ledger)
            await self.hear(ledger)
        while await due(ledger) or (await ledger.take_stock()).messages_waiting:
            await self.sweep(ledger)


def test_programs_that_all_hear_settle_and_send(place: Place) -> None:
    """Each hears of everything, as if Stripe told it to all of them; each message goes out once."""
    log = Log()

    async def story(ledgers: list[SqlLedger]) -> None:
        await race(ledgers, log.work)
        assert sorted(log.heard) == sorted(log.sent) == sorted(EVENTS)
        assert set(log.settled) == set(CUSTOMERS)
        assert (await ledgers[0].take_stock()).events == {"done": len(EVENTS)}

    place.tell_many(PROGRAMS, story)


def test_a_caller_that_goes_away_leaves_nothing_half_done(place: Place) -> None:
    names = [f"e{number}" for number in range(PROGRAMS)]

    async def story(ledger: SqlLedger) -> None:
        lease = await leased(ledger)
        calls = [
            asyncio.create_task(ledger.settle_customer(lease, lease.record, [notice("one")], NOW)),
            *(asyncio.create_task(ledger.add_event(event(one), "pending")) for one in names),
        ]
        await asyncio.sleep(0)
        for call in calls:
            call.cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(one, asyncio.CancelledError) for one in ended)
        # What had begun goes on, and nothing waits behind it for ever.
        async with asyncio.timeout(60):
            while (
                sorted(await due(ledger)) != names
                or await ledger.lease_customer("cus_1", "b", NOW, NOW + MINUTE) is None
            ):
                await asyncio.sleep(0.01)
        assert (await ledger.take_stock()).messages_waiting == 1

    place.tell(story)
