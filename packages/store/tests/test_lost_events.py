"""A webhook that never comes: what happened is found in Stripe's own list, and settled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from ledger_places import MINUTE, NOW, Place, event, in_memory
from purchases_made import bought, lifetime, subscription
from stand_ins import Works
from town import HANDLED, open_town

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.webhook_event import WebhookEvent
from shimmy_store.errors import PaymentsError
from shimmy_store.ports.ledger import EventState, HeardEvent
from shimmy_store.use_cases.hear_lost_events import hear_lost_events
from shimmy_store.use_cases.sweep_events import sweep_events

SECOND = timedelta(seconds=1)


def happened(
    name: str, customer: str, after: timedelta, kind: str = "invoice.paid"
) -> WebhookEvent:
    return WebhookEvent(name, kind, NOW + after, livemode=False, customer=customer, payment="")


async def listen(works: Works) -> int:
    return await hear_lost_events(works.till, works.ledger, HANDLED, works.now)


def test_what_no_webhook_told_of_is_settled() -> None:
    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW + 2 * SECOND)
        works.till.bought = {
            "cus_1": bought("cus_1", lifetime()),
            "cus_2": bought("cus_2", subscription(name="sub_2")),
        }
        await ledger.add_event(event("e1", "cus_1"), "pending")
        works.till.happened = [
            happened("e3", "cus_2", SECOND),
            happened("e2", "cus_9", SECOND, "plan.created"),
            happened("e1", "cus_1", 0 * SECOND),
        ]
        assert await listen(works) == 1
        assert (await sweep_events(works.fulfilment(), lambda: 0.5)).settled == 2
        assert sorted(works.till.asked) == ["cus_1", "cus_2"], "and nobody for an unknown type"
        assert await listen(works) == 0

    in_memory().tell(story)


def test_it_goes_on_where_it_ended_and_looks_back_a_minute() -> None:
    """Stripe's list may show an event later than its time says."""

    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        await ledger.add_event(event("e1"), "pending")
        works.till.happened = [
            happened("e2", "cus_2", 30 * MINUTE),
            happened("e1", "cus_1", MINUTE),
        ]
        assert await listen(works) == 1
        works.till.happened.insert(1, happened("late", "cus_3", 29.5 * MINUTE))
        works.till.happened.append(happened("old", "cus_4", 20 * MINUTE))
        assert await listen(works) == 1
        assert works.till.asked_since == [NOW - MINUTE, NOW + 29 * MINUTE]
        assert await ledger.unheard(["e1", "e2", "late", "old"]) == {"old"}

    in_memory().tell(story)


def test_what_was_lost_before_the_first_comparison_is_found() -> None:
    """A young store, or one that could not ask Stripe for a while: later webhooks did come."""

    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        for name, minutes in (("e1", 0), ("e3", 60)):
            heard = replace(event(name), created=NOW + minutes * MINUTE)
            await ledger.add_event(heard, "pending")
        works.till.happened = [
            happened("e3", "cus_1", 60 * MINUTE),
            happened("e2", "cus_2", 30 * MINUTE),
            happened("e1", "cus_1", 0 * MINUTE),
        ]
        assert await listen(works) == 1
        assert await ledger.unheard(["e2"]) == frozenset()

    in_memory().tell(story)


def test_an_empty_ledger_is_left_alone() -> None:
    """It may be about to be filled from a backup."""

    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        works.till.happened = [happened("e1", "cus_1", MINUTE)]
        assert await listen(works) == 0
        assert works.till.asked_since == []
        # Nor does what the store told itself count as heard.
        own = replace(event("look cus_1"), type="customers.time")
        await ledger.add_event(own, "pending")
        assert await listen(works) == 0

    in_memory().tell(story)


def test_many_are_compared_in_parts_and_nothing_is_written_twice() -> None:
    asked: list[int] = []
    written: list[str] = []

    class Noting(SqlLedger):
        async def unheard(self, events: Sequence[str]) -> frozenset[str]:
            asked.append(len(events))
            return await super().unheard(events)

        async def add_event(self, event: HeardEvent, state: EventState) -> bool:
            written.append(event.id)
            return await super().add_event(event, state)

    async def story(ledger: SqlLedger) -> None:
        works = Works(Noting(ledger._database), NOW)
        await ledger.add_event(event("e0"), "pending")
        listed = [happened(f"e{n}", f"cus_{n}", n * SECOND) for n in range(200, -1, -1)]
        works.till.happened = [happened("other", "cus_1", 300 * SECOND, "plan.created"), *listed]
        assert await listen(works) == 200
        assert asked == [90, 90, 21]
        assert sorted(written) == sorted(f"e{n}" for n in range(1, 201))
        assert await ledger.heard_through() == NOW + 300 * SECOND

    in_memory().tell(story)


def test_a_list_that_breaks_off_is_read_again_from_where_it_began() -> None:
    async def story(ledger: SqlLedger) -> None:
        works = Works(ledger, NOW)
        await ledger.add_event(event("e1"), "pending")
        works.till.happened = [happened("e2", "cus_2", 9 * MINUTE)]

        class BreaksOff(type(works.till)):  # type: ignore[misc]
            async def events(self, since: datetime):  # type: ignore[no-untyped-def]
                async for one in super().events(since):
                    yield one
                    raise PaymentsError("payments-cut-off", "", retryable=True)

        broken = BreaksOff(happened=works.till.happened)
        with pytest.raises(PaymentsError):
            await hear_lost_events(broken, ledger, HANDLED, NOW)
        assert await ledger.heard_through() == NOW
        assert await listen(works) == 1

    in_memory().tell(story)


def test_every_ledger_knows_what_it_heard(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        assert await ledger.heard_through() is None
        assert await ledger.unheard([]) == frozenset()
        await ledger.add_event(replace(event("e1"), created=NOW - MINUTE), "pending")
        await ledger.add_event(event("e2"), "unknown")
        assert await ledger.unheard(["e1", "e2", "e3"]) == {"e3"}
        assert await ledger.unheard([f"e{n}" for n in range(3, 93)]) >= {"e3", "e92"}
        assert await ledger.heard_through() == NOW - MINUTE, "nothing was compared yet"
        for moment in (NOW + MINUTE, NOW + 2 * MINUTE):
            await ledger.note_heard_through(moment)
            assert await ledger.heard_through() == moment
        await ledger.set_bookmark("cus_1")
        assert await ledger.bookmark() == "cus_1", "and no mark stands in another's place"

    place.tell(story)


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_a_purchase_that_stripe_never_tells_of_is_a_licence(tmp_path: Path) -> None:
    with open_town(tmp_path / "ledger.sqlite") as town:
        town.buy("startup", town.customer())
        town.work()
        bought = town.buy("enterprise", town.customer("other@example.com"))

        async def listen() -> int:
            async with town.fulfilment() as works:
                return await hear_lost_events(works.payments, works.ledger, HANDLED, town.now())

        assert asyncio.run(listen()) > 0
        assert town.work(listen=False).settled > 0
        assert town.licence(bought.subscription).plan == "enterprise"
        assert asyncio.run(listen()) == 0
