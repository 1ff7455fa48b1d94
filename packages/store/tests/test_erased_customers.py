"""After erasing: whatever comes, nothing is made, mailed or written down, and the licence ends."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable

import pytest
from full_ledger import everything
from ledger_places import due, event, in_memory, waiting
from purchases_made import DAY, NOW, lifetime, subscription
from stand_ins import Cabinet, Till, Works

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sql_ledger_desk import SqlLedgerDesk
from shimmy_store.domain.convergence import IssuedLicence
from shimmy_store.domain.erasing import decide_erased, plan_ending
from shimmy_store.domain.fulfilment import Alarm, licence_id
from shimmy_store.domain.purchases import Payment, Purchases, Subscription
from shimmy_store.ports.database import Statement
from shimmy_store.ports.ledger import CustomerRecord
from shimmy_store.use_cases.fulfil_customer import fulfil_customer
from shimmy_store.use_cases.reconcile_customers import reconcile_customers
from shimmy_store.use_cases.show_licences import show_licences
from shimmy_store.use_cases.sweep_events import sweep_events

ADA = "ada@example.com"
BILLED = Alarm("erased-still-billed", "sub_1")


def bought(*things: Subscription | Payment) -> Purchases:
    return Purchases(
        "cus_1",
        tuple(one for one in things if isinstance(one, Subscription)),
        tuple(one for one in things if isinstance(one, Payment)),
        email=ADA,
    )


def tell(story: Callable[[Works], Awaitable[None]], cabinet: Cabinet | None = None) -> None:
    async def told(ledger: SqlLedger) -> None:
        await story(Works(ledger, NOW, Till(), cabinet or Cabinet()))

    in_memory().tell(told)


async def erase(works: Works) -> None:
    await SqlLedgerDesk(works.ledger._database).erase("cus_1", works.now)


async def assert_forgotten(works: Works) -> CustomerRecord:
    """Nothing of the address, no mail, and no licence that can be used."""
    assert ADA not in str(await everything(works.ledger._database))
    assert await waiting(works.ledger, NOW + 1000 * DAY) == []
    assert all(one.suspended for one in works.cabinet.issued.values())
    record = await works.ledger.customer("cus_1")
    assert record is not None
    assert (record.email, record.plan, record.look_again) == ("", None, None)
    return record


def test_the_licence_ends_with_a_sweep_and_whoever_is_still_billed_raises_an_alarm() -> None:
    async def story(works: Works) -> None:
        works.till.bought = {"cus_1": bought(subscription())}
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        await erase(works)
        swept = await sweep_events(works.fulfilment(), lambda: 0.5)
        assert (swept.settled, swept.waiting) == (1, 0)
        assert await works.ledger.open_alarms() == [BILLED]
        assert [one.suspended for one in works.cabinet.issued.values()] == [True]
        assert works.till.cancelled == [], "only a person ends what is billed"
        await assert_forgotten(works)

    tell(story)


@pytest.mark.parametrize("way", ["webhook", "reconcile", "look"])
def test_what_comes_later_changes_nothing(way: str) -> None:
    async def story(works: Works) -> None:
        works.till.bought = {"cus_1": bought(subscription())}
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        await erase(works)
        await sweep_events(works.fulfilment(), lambda: 0.5)
        # A renewal, and a plan bought once beside it.
        works.till.bought = {"cus_1": bought(subscription(through=NOW + 50 * DAY), lifetime())}
        works.now += 40 * DAY
        if way == "webhook":
            await works.ledger.add_event(event("late", "cus_1"), "pending")
            await sweep_events(works.fulfilment(), lambda: 0.5)
        elif way == "reconcile":
            looked = [one.outcome async for one in reconcile_customers(works.fulfilment())]
            assert looked == ["settled"]
        else:
            assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        assert len(works.cabinet.issued) == 1
        await assert_forgotten(works)
        assert await due(works.ledger, works.now + 1000 * DAY) == []

    tell(story)


def test_who_was_erased_before_a_licence_was_made_gets_none() -> None:
    async def story(works: Works) -> None:
        works.till.bought = {"cus_1": bought(subscription())}
        await works.ledger.add_event(event("e1", "cus_1"), "pending")
        await erase(works)
        await sweep_events(works.fulfilment(), lambda: 0.5)
        assert works.cabinet.issued == {}
        assert (await assert_forgotten(works)).origin is None
        assert await works.ledger.open_alarms() == [BILLED]

    tell(story)


class _ErasedMeanwhile(Cabinet):
    """The erasing comes while a worker makes the licence."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def find(self, identifier: uuid.UUID) -> IssuedLicence | None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            await meanwhile()
        return self.issued.get(identifier)


def test_a_worker_who_makes_the_licence_meanwhile_is_followed_by_one_who_ends_it() -> None:
    cabinet = _ErasedMeanwhile()

    async def story(works: Works) -> None:
        works.till.bought = {"cus_1": bought(subscription())}
        cabinet.meanwhile = lambda: erase(works)
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        assert [one.suspended for one in works.cabinet.issued.values()] == [False]
        assert await due(works.ledger) == ["erase cus_1"], "which is how it goes on"
        await sweep_events(works.fulfilment(), lambda: 0.5)
        assert [one.suspended for one in works.cabinet.issued.values()] == [True]
        await assert_forgotten(works)

    tell(story, cabinet)


def test_what_was_written_at_the_very_moment_of_the_erasing_goes_with_the_next_look() -> None:
    """PostgreSQL lets both happen: neither sees the other."""

    async def story(works: Works) -> None:
        await erase_first(works)
        database = works.ledger._database
        await database.batch(
            [
                Statement(
                    "INSERT INTO events (id, type, customer, payment, created, received, state,"
                    " again, body) VALUES ('late', 'x', 'cus_1', '', 1, 1, 'unknown', 1, ?)",
                    (ADA,),
                ),
                Statement(
                    "INSERT INTO links (id, kind, customers, browser, expires, mailbox)"
                    " VALUES ('late', 'sign-in', 'cus_1', '', 1, ?)",
                    (ADA,),
                ),
            ]
        )
        await sweep_events(works.fulfilment(), lambda: 0.5)
        await assert_forgotten(works)

    async def erase_first(works: Works) -> None:
        await works.ledger.add_event(event("e1", "cus_1"), "pending")
        await erase(works)

    tell(story)


def test_a_licence_of_another_customer_and_one_that_is_gone_are_left_alone() -> None:
    async def story(works: Works) -> None:
        works.till.bought = {"cus_1": bought(subscription())}
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        works.cabinet.issued.clear()
        await erase(works)
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        assert works.cabinet.issued == {}

    tell(story)
    others = IssuedLicence(
        licence_id("x"), "developer", None, suspended=False, metadata={"customer": "cus_2"}
    )
    assert plan_ending("cus_1", others) is None
    assert plan_ending("cus_2", others) is not None


def test_the_erased_are_shown_no_licence() -> None:
    async def story(works: Works) -> None:
        works.till.bought = {"cus_1": bought(lifetime())}
        assert await fulfil_customer("cus_1", works.fulfilment()) == "settled"
        (before,) = await show_licences(["cus_1"], works.ledger, works.cabinet)
        assert before.holding is not None
        await erase(works)
        (after,) = await show_licences(["cus_1"], works.ledger, works.cabinet)
        assert after.holding is None

    tell(story)


def test_only_what_goes_on_being_billed_is_told_of() -> None:
    ending = subscription(name="sub_2", ends=NOW + DAY)
    over = subscription("canceled", name="sub_3")
    owing = subscription("past_due", name="sub_4")
    alarms = decide_erased(bought(subscription(), ending, over, owing, lifetime()))
    assert [one.subject for one in alarms] == ["sub_1", "sub_4"]
