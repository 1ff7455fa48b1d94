"""What every ledger promises, wherever it lies. Merges and races have files of their own."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_places import (
    MINUTE,
    NOW,
    Place,
    a_link,
    due,
    event,
    leased,
    notice,
    waiting,
)

from shimmy_store.adapters.ledger_schema import MIGRATIONS, migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.notices import Notice
from shimmy_store.ports.ledger import CustomerRecord, EventState, PendingEvent, Stock

ODD = [
    "it's",
    'a "b"',
    "back\\slash",
    "100%s ?",
    "e\N{COMBINING ACUTE ACCENT}",
    "\U0001f980\n",
    " ",
]
LATER = NOW + 1000 * MINUTE


def test_the_tables_are_made_once(place: Place) -> None:
    async def twice() -> None:
        async with place.opened(1) as (database,):
            steps = [await migrate_ledger(database) for _ in range(2)]
        assert steps == [len(MIGRATIONS), 0]

    asyncio.run(twice())


def test_an_event_is_kept_once(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        kept = [await ledger.add_event(event(one), "pending") for one in ("e2", "e2", "e1")]
        assert kept == [True, False, True]
        assert await due(ledger) == ["e2", "e1"], "in the order they came"
        assert [one.id for one in await ledger.due_events(NOW, 1)] == ["e2"]

    place.tell(story)


def test_an_event_comes_back_as_it_was(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1", "cus_1", "pi_1"), "pending")
        expected = PendingEvent("e1", "invoice.paid", "cus_1", NOW, 0, "pi_1")
        assert await ledger.due_events(NOW, 10) == [expected]
        assert await ledger.due_events(NOW - timedelta(microseconds=1), 10) == []

    place.tell(story)


@pytest.mark.parametrize("state", ["done", "unknown", "parked"])
def test_only_pending_events_are_due(place: Place, state: EventState) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), state)
        assert await due(ledger, LATER) == []

    place.tell(story)


def test_odd_text_is_kept_as_it_is(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for text in ODD:
            await ledger.add_event(event(text, text, text), "pending")
            lease = await leased(ledger, text)
            record = replace(lease.record, origin=text, email=f"{text}@x")
            told = Notice(f"key {text}", "licence", {text: text})
            assert await ledger.settle_customer(lease, record, [told], NOW)
            assert await ledger.customer(text) == replace(record, settled=NOW)
            assert [one.customer for one in await ledger.customers_of(f"{text}@X")] == [text]
            (message,) = await ledger.take_messages(NOW, LATER, 10)
            assert (message.notice, message.customer) == (told, text)
        assert await due(ledger) == []

    place.tell(story)


def test_failures_wait_and_are_parked_in_the_end(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        await ledger.postpone_event("e1", "no network", NOW + MINUTE)
        assert await due(ledger) == []
        (again,) = await ledger.due_events(NOW + MINUTE, 10)
        assert again.attempts == 1
        for _ in range(2):
            await ledger.postpone_event("e1", "still none", None)
        assert await ledger.open_alarms() == [Alarm("event-parked", "e1")]
        assert await due(ledger, LATER) == []
        lease = await leased(ledger)
        await ledger.settle_customer(lease, lease.record, [], NOW)
        stock = await ledger.take_stock()
        assert stock.events == {"done": 1}, "looking at the customer settles it too"
        await ledger.postpone_event("e1", "too late", None)
        assert await ledger.take_stock() == stock

    place.tell(story)


def test_an_event_is_given_to_its_customer(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for name in ("e1", "e2"):
            await ledger.add_event(event(name, ""), "pending")
        await ledger.assign_event("e1", "cus_1", NOW)
        await ledger.assign_event("e2", "", NOW)
        assert [(one.id, one.customer) for one in await ledger.due_events(NOW, 10)] == [
            ("e1", "cus_1")
        ]
        await ledger.assign_event("e2", "cus_1", NOW)
        assert await due(ledger) == ["e1"], "nobody's is done"

    place.tell(story)


def test_a_lease_is_one_workers_until_it_ends(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        first = await leased(ledger, owner="a")
        assert first.record == CustomerRecord("cus_1")
        for owner in ("a", "b"):
            assert await ledger.lease_customer("cus_1", owner, NOW + MINUTE / 2, LATER) is None
        await leased(ledger, "cus_2", "b")
        second = await leased(ledger, owner="b", now=NOW + MINUTE)
        await ledger.release_customer(first, NOW + MINUTE)
        assert await ledger.lease_customer("cus_1", "c", NOW + MINUTE, LATER) is None
        await ledger.release_customer(second, NOW + MINUTE)
        await leased(ledger, owner="c", now=NOW + MINUTE)

    place.tell(story)


def test_settling_does_everything_at_once(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        await ledger.add_event(event("e2", "cus_2"), "pending")
        lease = await leased(ledger)
        record = CustomerRecord("cus_1", "sub_1", "A@x", "professional", 3)
        told = [notice("one"), notice("two"), notice("one")]
        assert await ledger.settle_customer(lease, record, told, NOW)
        assert await ledger.customer("cus_1") == replace(record, settled=NOW)
        assert await due(ledger) == ["e2"]
        assert await waiting(ledger) == ["one", "two"]
        again = await leased(ledger)
        assert again.record == replace(record, settled=NOW)
        assert await ledger.settle_customer(again, record, [*told, notice("four")], NOW)
        assert await waiting(ledger) == ["one", "two", "four"], "each once"

    place.tell(story)


def test_settling_without_the_lease_does_nothing(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        stale = await leased(ledger, owner="a")
        current = await leased(ledger, owner="a", now=NOW + MINUTE)
        told = [notice("one")]
        record = CustomerRecord("cus_1", "sub_1", "a@x", "developer", 1)
        assert not await ledger.settle_customer(stale, record, told, NOW)
        assert await ledger.customer("cus_1") == CustomerRecord("cus_1")
        assert await waiting(ledger) == []
        assert await ledger.settle_customer(current, record, told, NOW)
        assert await waiting(ledger) == ["one"]

    place.tell(story)


def test_what_is_heard_while_looking_is_looked_at_again(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        lease = await leased(ledger)
        await ledger.add_event(event("e2"), "pending")
        assert await ledger.lease_customer("cus_1", "a", NOW, NOW + MINUTE) is None
        await ledger.settle_customer(lease, lease.record, [], NOW)
        assert await due(ledger) == ["e2"]
        lease = await leased(ledger)
        await ledger.settle_customer(lease, lease.record, [], NOW)
        assert await due(ledger) == []

    place.tell(story)


def test_customers_are_found_whatever_the_case_of_their_address(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for customer, email in (("cus_1", "Ada@X.org"), ("cus_2", "aDA@x.org"), ("cus_3", "ad@x")):
            lease = await leased(ledger, customer)
            await ledger.settle_customer(lease, replace(lease.record, email=email), [], NOW)
        await leased(ledger, "cus_4")
        found = await ledger.customers_of("ADA@x.org")
        assert [(one.customer, one.email) for one in found] == [
            ("cus_1", "Ada@X.org"),
            ("cus_2", "aDA@x.org"),
        ]
        assert await ledger.customers_of("") == [], "those without an address are not one person"
        assert await ledger.customer("cus_5") is None

    place.tell(story)


def test_a_message_is_sent_once(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for _ in range(2):
            await ledger.add_message(notice("one"), "cus_1", NOW)
        (message,) = await ledger.take_messages(NOW, NOW + MINUTE, 10)
        assert (message.notice, message.customer, message.attempts) == (notice("one"), "cus_1", 0)
        await ledger.mark_sent("one", NOW)
        await ledger.add_message(notice("one"), "cus_1", NOW)
        await ledger.postpone_message("one", "too late", None)
        assert await waiting(ledger, LATER) == []
        assert await ledger.open_alarms() == []

    place.tell(story)


def test_taken_messages_are_nobody_elses_for_a_while(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for name in ("c", "a", "b"):
            await ledger.add_message(notice(name), "cus_1", NOW)

        async def take(most: int, minutes: int) -> list[str]:
            now = NOW + minutes * MINUTE
            taken = await ledger.take_messages(now, now + 2 * MINUTE, most)
            return [one.notice.key for one in taken]

        assert await take(2, 0) == ["c", "a"], "in the order they were added"
        assert await take(2, 1) == ["b"]
        assert await take(3, 2) == ["c", "a"]
        assert await take(3, 3) == ["b"]

    place.tell(story)


def test_messages_that_fail_are_tried_again_and_parked_in_the_end(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_message(notice("one"), "cus_1", NOW)
        await ledger.postpone_message("one", "mailbox full", NOW + MINUTE)
        assert await waiting(ledger) == []
        (message,) = await ledger.take_messages(NOW + MINUTE, NOW + MINUTE, 10)
        assert message.attempts == 1
        for _ in range(2):
            await ledger.postpone_message("one", "no such mailbox", None)
        assert await waiting(ledger, LATER) == []
        assert await ledger.open_alarms() == [Alarm("message-parked", "one")]
        assert (await ledger.take_stock()).messages_parked == 1
        await ledger.mark_sent("one", NOW)
        assert (await ledger.take_stock()).messages_parked == 0, "somebody has sent it"

    place.tell(story)


def test_a_link_is_used_once_in_time_and_in_the_right_browser(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        link = a_link(browser="ours")
        await ledger.add_link(link)
        assert await ledger.link("l1") == link
        assert await ledger.link("l2") is None
        refused = [("l2", "ours", NOW), ("l1", "", NOW), ("l1", "other", NOW)]
        for name, browser, now in [*refused, ("l1", "ours", link.expires)]:
            assert not await ledger.use_link(name, browser, now)
        assert await ledger.use_link("l1", "ours", link.expires - timedelta(microseconds=1))
        assert not await ledger.use_link("l1", "ours", NOW)
        await ledger.add_link(replace(link, id="any", browser=""))
        assert await ledger.use_link("any", "whose", NOW)

    place.tell(story)


def test_a_link_is_good_for_longer_until_it_is_used(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        longer = replace(a_link(), expires=LATER)
        await ledger.add_link(a_link())
        await ledger.add_link(longer)
        assert await ledger.link("l1") == longer
        assert await ledger.use_link("l1", "", NOW + 2 * MINUTE)
        used = replace(longer, used=NOW + 2 * MINUTE)
        await ledger.add_link(replace(longer, expires=LATER + MINUTE))
        assert await ledger.link("l1") == used
        assert not await ledger.use_link("l1", "", NOW + 2 * MINUTE)

    place.tell(story)


def test_tries_are_counted_by_name_and_period(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        tries = [("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)]
        assert [await ledger.count_try(*one) for one in tries] == [1, 2, 1, 1, 3]

    place.tell(story)


def test_an_alarm_is_raised_and_acknowledged_once(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        first, second = Alarm("partial-refund", "p"), Alarm("double-purchase", "p")
        await ledger.raise_alarms([], NOW)
        await ledger.raise_alarms([first], NOW)
        await ledger.raise_alarms([second, first], NOW)
        assert await ledger.open_alarms() == [first, second]
        assert await ledger.acknowledge_alarm(first, NOW)
        assert not await ledger.acknowledge_alarm(first, NOW)
        assert not await ledger.acknowledge_alarm(Alarm("wrong-mode", "p"), NOW)
        await ledger.raise_alarms([first], NOW)
        assert await ledger.open_alarms() == [second]

    place.tell(story)


def test_stock_is_what_lies_there(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        assert await ledger.take_stock() == Stock({}, None, 0, None, 0, 0)
        await ledger.add_event(event("e1"), "done")
        for number in (2, 3):
            heard = replace(event(f"e{number}"), received=NOW + number * MINUTE)
            await ledger.add_event(heard, "pending")
        await ledger.postpone_event("e2", "no network", None)
        for number in (1, 2, 3):
            await ledger.add_message(notice(str(number)), "cus_1", NOW + number * MINUTE)
        await ledger.mark_sent("1", NOW)
        await ledger.postpone_message("2", "no such mailbox", None)
        events: dict[EventState, int] = {"done": 1, "parked": 1, "pending": 1}
        expected = Stock(events, NOW + 3 * MINUTE, 1, NOW + 3 * MINUTE, 1, 2)
        assert await ledger.take_stock() == expected

    place.tell(story)


def test_what_is_pending_is_not_forgotten(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        states: list[EventState] = ["done", "unknown", "pending", "parked"]
        for state in states:
            await ledger.add_event(event(state), state)
        await ledger.add_link(a_link())
        for period in (1, 2, 2):
            await ledger.count_try("a", period)
        for name in ("asked", "answered"):
            await ledger.add_message(Notice(name, "sign-in", {"email": "a@b"}), "", NOW)
        await ledger.mark_sent("answered", NOW)
        assert await ledger.forget(NOW, 1) == 0
        told = "two bodies, a link, a try and an answer"
        assert await ledger.forget(NOW + 2 * MINUTE, 2) == 5, told
        assert await ledger.forget(NOW + 2 * MINUTE, 2) == 0
        assert await ledger.link("l1") is None
        assert await ledger.count_try("a", 2) == 3
        assert not await ledger.add_event(event("done"), "pending"), "it was heard before, still"
        assert (await ledger.take_stock()).events == dict.fromkeys(states, 1)

    place.tell(story)
