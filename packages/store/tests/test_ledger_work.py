"""Whose turn it is, what waits again, and which alarms come again, wherever the ledger lies."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from ledger_places import MINUTE, NOW, Place, due, event, leased, notice, waiting

from shimmy_store.adapters.ledger_rows import stamp
from shimmy_store.adapters.ledger_schema import claim_ledger, migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Statement
from shimmy_store.ports.ledger import RECURRING, CustomerRecord

DAY = timedelta(days=1)


async def turns(ledger: SqlLedger, most: int = 10) -> list[tuple[str, str, int]]:
    found = await ledger.due_work(NOW, most)
    return [(one.event.id, one.event.customer, one.events) for one in found]


async def settle(ledger: SqlLedger, record: CustomerRecord, *told: str) -> None:
    lease = await leased(ledger, record.customer)
    assert await ledger.settle_customer(lease, record, [notice(one) for one in told], NOW)


def test_a_busy_customer_has_one_turn_like_everybody(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for number in range(5):
            await ledger.add_event(event(f"busy{number}", "cus_1"), "pending")
        await ledger.add_event(event("e2", "cus_2"), "pending")
        assert await turns(ledger) == [("busy0", "cus_1", 5), ("e2", "cus_2", 1)]
        assert await turns(ledger, 1) == [("busy0", "cus_1", 5)]

    place.tell(story)


def test_who_is_leased_has_no_turn(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for number in (1, 2):
            await ledger.add_event(event(f"e{number}", f"cus_{number}"), "pending")
        lease = await leased(ledger, "cus_1")
        assert await turns(ledger, 1) == [("e2", "cus_2", 1)]
        await ledger.release_customer(lease, NOW)
        assert await turns(ledger, 1) == [("e1", "cus_1", 1)]
        await leased(ledger, "cus_1", now=NOW - MINUTE)
        assert await turns(ledger, 1) == [("e1", "cus_1", 1)], "a lease that ran out is none"

    place.tell(story)


def test_events_of_nobody_stand_for_themselves(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for number in (1, 2):
            await ledger.add_event(event(f"e{number}", "", f"pi_{number}"), "pending")
        await ledger.add_event(event("e3", "cus_1"), "pending")
        await ledger.postpone_event("e2", "no network", NOW + MINUTE)
        assert await turns(ledger) == [("e1", "", 1), ("e3", "cus_1", 1)]
        assert (await ledger.due_work(NOW, 1))[0].event.payment == "pi_1"

    place.tell(story)


def test_a_customer_is_due_when_time_has_come(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        record = CustomerRecord("cus_1", look_again=NOW + MINUTE)
        await settle(ledger, record)
        assert await ledger.customer("cus_1") == replace(record, settled=NOW)
        await ledger.wake_customers(NOW + MINUTE - timedelta(microseconds=1))
        assert (await ledger.take_stock()).oldest_event is None, "not before its time"
        for _ in range(2):
            await ledger.wake_customers(NOW + MINUTE)
        (told,) = await ledger.due_events(NOW + MINUTE, 10)
        assert (told.type, told.customer) == ("customers.time", "cus_1")
        assert told.received == NOW + MINUTE
        await settle(ledger, CustomerRecord("cus_1"))
        assert (await ledger.take_stock()).events == {"done": 1}

    place.tell(story)


@pytest.mark.parametrize("later", [None, NOW + 2 * MINUTE])
def test_a_later_look_moves_or_takes_back_the_next_one(place: Place, later: object) -> None:
    async def story(ledger: SqlLedger) -> None:
        await settle(ledger, CustomerRecord("cus_1", look_again=NOW + MINUTE))
        await settle(ledger, CustomerRecord("cus_1", look_again=later))  # type: ignore[arg-type]
        await ledger.wake_customers(NOW + MINUTE)
        assert await due(ledger, NOW + MINUTE) == []
        await ledger.wake_customers(NOW + 2 * MINUTE)
        assert len(await due(ledger, NOW + 2 * MINUTE)) == (later is not None)

    place.tell(story)


def test_a_time_that_somebody_with_a_fast_clock_settled_is_looked_at_again(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for _ in range(2):
            await settle(ledger, CustomerRecord("cus_1", look_again=NOW))
            await ledger.wake_customers(NOW)
            assert len(await due(ledger)) == 1

    place.tell(story)


HOUR = 60 * MINUTE
# After so many tries, so far away: whether it is due at once.
_PUT_OFF = (
    (0, 2 * MINUTE, False),
    (0, 3 * MINUTE, True),
    (60, 3 * MINUTE, True),
    (61, HOUR + 2 * MINUTE, False),
    (61, HOUR + 3 * MINUTE, True),
    (61, 31 * DAY, True),
)


def test_what_was_put_off_while_a_clock_was_ahead_does_not_wait_for_that_time(
    place: Place,
) -> None:
    async def story(ledger: SqlLedger) -> None:
        expected = {str(number): due_now for number, (*_, due_now) in enumerate(_PUT_OFF)}
        statements = []
        for name, (tries, ahead, _) in zip(expected, _PUT_OFF, strict=True):
            await ledger.add_event(event(name, f"cus_{name}"), "pending")
            await ledger.add_message(notice(name), f"cus_{name}", NOW)
            values = (tries, stamp(NOW + ahead), name)
            statements += [
                Statement("UPDATE events SET attempts = ?, again = ? WHERE id = ?", values),
                Statement("UPDATE outbox SET attempts = ?, again = ? WHERE key = ?", values),
            ]
        await ledger._database.batch(statements)
        await ledger.wake_customers(NOW)
        events = {one.id for one in await ledger.due_events(NOW, 9)}
        mails = {one.notice.key for one in await ledger.take_messages(NOW, NOW + MINUTE, 9)}
        assert events == mails == {name for name, due_now in expected.items() if due_now}
        # Who is a minute behind takes no mail from whoever sends it.
        await ledger.wake_customers(NOW - MINUTE)
        again = {one.notice.key for one in await ledger.take_messages(NOW, NOW + MINUTE, 9)}
        assert again.isdisjoint(mails)

    place.tell(story)


def test_a_lease_from_while_a_clock_was_ahead_holds_nobody(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for name, held in (("cus_1", 12), ("cus_2", 13), ("cus_3", 13)):
            until = NOW + held * MINUTE
            assert await ledger.lease_customer(name, "who was ahead", NOW, until) is not None
            if name != "cus_3":
                await ledger.add_event(event(f"event of {name}", name), "pending")
        await ledger.wake_customers(NOW)
        (found,) = await ledger.due_work(NOW, 9)
        assert found.event.customer == "cus_2"
        assert await ledger.lease_customer("cus_2", "next", NOW, NOW + MINUTE) is not None
        assert await ledger.lease_customer("cus_1", "next", NOW, NOW + MINUTE) is None

    place.tell(story)


@pytest.mark.parametrize("how", ["settled", "released"])
def test_who_lost_the_lease_leaves_another_look_behind(place: Place, how: str) -> None:
    """The one who has it meanwhile began before the last write: that look does not count."""

    async def story(ledger: SqlLedger) -> None:
        stale = await leased(ledger, owner="a")
        current = await leased(ledger, owner="b", now=NOW + MINUTE)
        if how == "settled":
            assert not await ledger.settle_customer(stale, stale.record, [], NOW + MINUTE)
        else:
            await ledger.release_customer(stale, NOW + MINUTE)
        assert await ledger.settle_customer(current, current.record, [], NOW + MINUTE)
        (told,) = await ledger.due_events(NOW + MINUTE, 10)
        assert told.type == "customers.overtaken"
        lease = await leased(ledger, now=NOW + MINUTE)
        assert await ledger.settle_customer(lease, lease.record, [], NOW + MINUTE)
        assert await due(ledger, NOW + MINUTE) == []

    place.tell(story)


def test_who_keeps_the_lease_leaves_nothing_behind(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.release_customer(await leased(ledger), NOW)
        await settle(ledger, CustomerRecord("cus_1"))
        assert (await ledger.take_stock()).events == {}

    place.tell(story)


def test_a_licences_name_is_kept_before_it_is_made(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        lease = await leased(ledger)
        assert await ledger.note_origin(lease, "sub_1")
        assert await ledger.customer("cus_1") == CustomerRecord("cus_1", "sub_1")
        assert not await ledger.note_origin(replace(lease, token="another's"), "sub_2")
        await ledger.release_customer(lease, NOW)
        assert not await ledger.note_origin(lease, "sub_2")
        assert (await leased(ledger)).record.origin == "sub_1"

    place.tell(story)


@pytest.mark.parametrize("name", ["e1", "m1", None])
def test_what_was_parked_is_as_if_it_had_just_come(place: Place, name: str | None) -> None:
    async def story(ledger: SqlLedger) -> None:
        for number in (1, 2):
            await ledger.add_event(event(f"e{number}"), "pending")
            await ledger.add_message(notice(f"m{number}"), "cus_1", NOW)
            await ledger.postpone_event(f"e{number}", "refused", None)
            await ledger.postpone_message(f"m{number}", "refused", None)
        later = NOW + 9 * DAY
        assert await ledger.retry(name, later) == (1 if name else 4)
        events = [(one.id, one.attempts, one.received) for one in await ledger.due_events(later, 9)]
        found = await ledger.take_messages(later, later + MINUTE, 9)
        messages = [(one.notice.key, one.attempts, one.added) for one in found]
        assert events == [(one, 0, later) for one in ("e1", "e2") if name in (one, None)]
        assert messages == [(one, 0, later) for one in ("m1", "m2") if name in (one, None)]
        left = {one.subject for one in await ledger.open_alarms()}
        assert left == ({"e1", "e2", "m1", "m2"} - {name} if name else set())

    place.tell(story)


def test_what_is_parked_again_is_an_alarm_again(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        for _ in range(2):
            await ledger.postpone_event("e1", "refused", None)
            alarm = Alarm("event-parked", "e1")
            assert await ledger.acknowledge_alarm(alarm, NOW)
            assert await ledger.retry("e1", NOW) == 1
        assert await ledger.retry("e1", NOW) == 0, "it is pending"
        assert await ledger.retry("e9", NOW) == 0

    place.tell(story)


@pytest.mark.parametrize(
    ("before", "after", "again"),
    [("a@x", "b@x", True), ("", "b@x", True), ("a@x", "a@x", False), ("a@x", "", False)],
)
def test_another_address_is_another_try(place: Place, before: str, after: str, again: bool) -> None:
    async def story(ledger: SqlLedger) -> None:
        for customer in ("cus_1", "cus_2"):
            await settle(ledger, CustomerRecord(customer, email=before), customer)
            await ledger.postpone_message(customer, "no such mailbox", None)
        await settle(ledger, CustomerRecord("cus_1", email=after))
        assert await waiting(ledger) == (["cus_1"] if again else [])
        left = [one.subject for one in await ledger.open_alarms()]
        assert left == (["cus_2"] if again else ["cus_1", "cus_2"])

    place.tell(story)


def test_some_alarms_come_again_a_day_after_somebody_looked(place: Place) -> None:
    again, once = Alarm("credentials-refused", "stripe"), Alarm("partial-refund", "pi_1")
    assert again.code in RECURRING

    async def story(ledger: SqlLedger) -> None:
        await ledger.raise_alarms([again, once], NOW)
        for alarm in (again, once):
            assert await ledger.acknowledge_alarm(alarm, NOW + MINUTE)
        await ledger.raise_alarms([again, once], NOW + DAY)
        assert await ledger.open_alarms() == []
        await ledger.raise_alarms([again, once], NOW + DAY + MINUTE)
        assert await ledger.open_alarms() == [again]

    place.tell(story)


def test_a_ledger_is_of_one_mode(place: Place) -> None:
    async def story() -> None:
        async with place.opened(2) as databases:
            await migrate_ledger(databases[0])
            for database in databases:
                await claim_ledger(database, "test")
            with pytest.raises(LedgerError, match="test mode") as refused:
                await claim_ledger(databases[1], "live")
            assert (refused.value.code, refused.value.retryable) == ("ledger-of-other-mode", False)
            assert refused.value.hint
            await claim_ledger(databases[0], "test")

    asyncio.run(story())
