"""What the operator reads of a ledger, and how a person is erased from it, wherever it lies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from full_ledger import ADA, everything, fill, settle, told
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_places import (
    MINUTE,
    NOW,
    Place,
    due,
    event,
    in_file,
    in_memory,
    leased,
    notice,
    waiting,
)

from shimmy_store.adapters.ledger_schema import MIGRATIONS
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sql_ledger_desk import SqlLedgerDesk
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.ledger_dump import TABLES, Value
from shimmy_store.domain.notices import Notice
from shimmy_store.ports.ledger import EventState, HeardEvent, Link
from shimmy_store.ports.ledger_desk import KnownAlarm
from shimmy_store.use_cases.erase_customer import MergedAway, erase_customer

LATER = NOW + 2000 * MINUTE
Rows = Mapping[str, Sequence[tuple[Value, ...]]]


def desk_of(ledger: SqlLedger) -> SqlLedgerDesk:
    return SqlLedgerDesk(ledger._database)


def column(rows: Rows, table: str, name: str) -> list[Value]:
    """One column of a table's rows."""
    place = [one.name for one in TABLES[table].columns].index(name)
    return [row[place] for row in rows[table]]


def test_figures_of_an_empty_ledger_are_zero(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        figures = await desk_of(ledger).figures(NOW)
        assert figures.schema == len(MIGRATIONS)
        assert (figures.events.states, figures.events.types) == ({}, {})
        assert (figures.events.oldest_pending, figures.mail.oldest_waiting) == (None, None)
        assert (figures.mail.waiting, figures.mail.parked, figures.mail.sending) == (0, 0, [])
        assert (figures.customers.count, figures.customers.plans) == (0, {})
        assert figures.alarms == []

    place.tell(story)


def test_figures_count_what_lies_there_and_what_came(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await fill(ledger)
        figures = await desk_of(ledger).figures(NOW - MINUTE)
        # The merge tells to look at who keeps the licence: that is pending, and no webhook.
        assert figures.events.states == {"done": 3, "pending": 2, "unknown": 3}
        assert figures.events.types == {"invoice.paid": 7}
        assert figures.events.delivery == [0.0] * 7
        assert figures.events.settling == [0.0] * 3
        assert figures.events.oldest_pending == NOW
        assert (figures.mail.waiting, figures.mail.parked) == (6, 1)
        assert (figures.mail.sending, figures.mail.oldest_waiting) == ([60.0], NOW)
        customers = figures.customers
        assert (customers.count, customers.with_licence, customers.merged) == (3, 2, 1)
        assert customers.plans == {"developer": 2}, "without who is merged away"
        assert [(one.code, one.subject) for one in figures.alarms] == [
            ("message-parked", "more 1"),
            ("double-purchase", "sub_cus_1"),
            ("price-differs", "price_1"),
        ]

    place.tell(story)


HEARD = st.tuples(
    st.sampled_from(["a.b", "customers.time", "customer.updated"]),
    st.integers(-50, 50),
    st.integers(0, 30),
    st.sampled_from(["pending", "unknown"]),
    st.none() | st.integers(0, 60),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(HEARD, max_size=12), st.integers(-60, 60))
def test_figures_over_a_window_are_those_counted_by_hand(
    heard: list[tuple[str, int, int, EventState, int | None]], start: int
) -> None:
    since = NOW + start * MINUTE
    types: dict[str, int] = {}
    delivery, settling = list[float](), list[float]()
    for kind, received, late, state, settled in heard:
        if received >= start and kind != "customers.time":
            types[kind] = types.get(kind, 0) + 1
            delivery.append(late * 60.0)
        if state == "pending" and settled is not None and received + settled >= start:
            settling.append(settled * 60.0)

    async def story(ledger: SqlLedger) -> None:
        for number, (kind, received, late, state, settled) in enumerate(heard):
            at = NOW + received * MINUTE
            customer = f"cus_{number}"
            one = HeardEvent(f"e{number}", kind, customer, at - late * MINUTE, at, "{}")
            await ledger.add_event(one, state)
            if settled is not None:
                lease = await leased(ledger, customer, now=at)
                await ledger.settle_customer(lease, lease.record, [], at + settled * MINUTE)
        figures = await desk_of(ledger).figures(since)
        assert figures.events.types == types
        assert sorted(figures.events.delivery) == sorted(delivery)
        assert sorted(figures.events.settling) == sorted(settling)

    in_memory().tell(story)


def test_an_alarm_comes_with_its_time_and_is_gone_when_somebody_has_looked(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        first, second = Alarm("dispute-open", "dp_1"), Alarm("merge-credit", "sub_1")
        await ledger.raise_alarms([second], NOW + MINUTE)
        await ledger.raise_alarms([first], NOW)
        assert await desk_of(ledger).alarms() == [
            KnownAlarm("dispute-open", "dp_1", NOW),
            KnownAlarm("merge-credit", "sub_1", NOW + MINUTE),
        ]
        await ledger.acknowledge_alarm(first, NOW)
        assert [one.subject for one in await desk_of(ledger).alarms()] == ["sub_1"]

    place.tell(story)


def test_a_customer_is_found_by_id_and_by_address(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await fill(ledger)
        desk = desk_of(ledger)
        assert await desk.file_of("cus_unknown") is None
        file = await desk.file_of("cus_1")
        assert file is not None
        assert (file.record.email, file.record.plan) == (ADA, "developer")
        assert [one.id for one in file.events] == ["merge used-link", "evt_open", "evt_1"]
        assert [one.key for one in file.messages] == ["more 1", "mail 1"], "newest first"
        assert [one.sent for one in file.messages] == [None, NOW + MINUTE]
        assert file.messages[0].error == "mail-refused"
        assert {one.code for one in file.alarms} == {"message-parked", "double-purchase"}
        found = await desk.files_with(f" {ADA.upper()} ")
        merged = [(one.record.customer, one.record.merged_into) for one in found]
        assert merged == [("cus_1", ""), ("cus_2", "cus_1")]
        assert [await desk.files_with(one) for one in ("", "nobody@x")] == [[], []]

    place.tell(story)


def test_somebody_of_whom_only_events_tell_is_found_and_erased(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(told("e1", "cus_new", email=ADA), "pending")
        file = await desk_of(ledger).file_of("cus_new")
        assert file is not None
        assert (file.record.email, len(file.events)) == ("", 1)
        erased = await desk_of(ledger).erase("cus_new", NOW)
        assert (erased.rows["customers"], erased.rows["events"]) == (1, 1)
        assert ADA not in str(await everything(ledger._database))

    place.tell(story)


def test_of_many_events_the_newest_fifty_are_shown(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        for number in range(53):
            await ledger.add_event(event(f"e{number}"), "unknown")
        file = await desk_of(ledger).file_of("cus_1")
        assert file is not None
        assert [one.id for one in file.events] == [f"e{one}" for one in range(52, 2, -1)]

    place.tell(story)


def test_an_export_has_all_rows_about_a_person_and_none_about_others(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await fill(ledger)
        rows = await desk_of(ledger).rows_of("cus_1")
        assert column(rows, "customers", "customer") == ["cus_1", "cus_2"]
        events = column(rows, "events", "id")
        assert events == ["evt_1", "evt_open", "merge used-link", "evt_2", "evt_loose"]
        keys = column(rows, "outbox", "key")
        assert keys == ["mail 1", "more 1", "mail 2", "more 2", "sign-in/1"]
        assert column(rows, "links", "id") == ["merge-link"]
        assert column(rows, "alarms", "subject") == ["more 1", "sub_cus_1"]
        assert "bob@example.com" not in str(rows)
        assert not any((await desk_of(ledger).rows_of("cus_unknown")).values())

    place.tell(story)


def test_of_an_erased_person_only_ids_are_left(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await fill(ledger)
        desk = desk_of(ledger)
        erased = await desk.erase("cus_1", NOW + MINUTE)
        assert erased.at == NOW + MINUTE
        assert erased.rows == {"customers": 2, "events": 4, "outbox": 5, "links": 1, "alarms": 1}
        left = json.dumps(await everything(ledger._database)).lower()
        assert ADA.lower() not in left
        for customer, keeper in (("cus_1", ""), ("cus_2", "cus_1")):
            record = await ledger.customer(customer)
            assert record is not None
            assert (record.origin, record.merged_into) == (f"sub_{customer}", keeper)
            assert (record.email, record.plan, record.look_again) == ("", None, None)
            assert record.erased == NOW + MINUTE
        assert await due(ledger, LATER) == [
            "evt_open",
            "merge used-link",
            "erase cus_1",
            "erase cus_2",
        ], "both are looked at, so that licences end"
        # Bob has lost nothing.
        assert "bob@example.com" in left
        others = await desk.file_of("cus_3")
        assert others is not None
        assert (others.record.email, len(others.messages)) == ("bob@example.com", 2)
        assert await ledger.link("others-link") is not None
        figures = await desk.figures(NOW)
        assert (figures.customers.count, figures.customers.merged) == (1, 0)

    place.tell(story)


def test_erasing_again_changes_nothing(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await fill(ledger)
        desk = desk_of(ledger)
        await desk.erase("cus_1", NOW)
        before = await everything(ledger._database)
        again = await desk.erase("cus_1", NOW + MINUTE)
        assert again.at == NOW, "the first time"
        assert set(again.rows.values()) == {0}
        assert await everything(ledger._database) == before

    place.tell(story)


def test_nothing_brings_an_erased_address_back(place: Place) -> None:
    """Not a worker who had the lease, not a late event, not a mail that was being written."""

    async def story(ledger: SqlLedger) -> None:
        await settle(ledger, "cus_1", ADA)
        await ledger.add_event(told("before", "cus_1", email=ADA), "pending")
        await ledger.add_event(told("nobodys", "", name="Ada Byron"), "pending")
        lease = await leased(ledger, "cus_1", now=NOW + MINUTE)
        await desk_of(ledger).erase("cus_1", NOW + MINUTE)
        record = replace(lease.record, plan="startup", changes=3, look_again=NOW + 9 * MINUTE)
        # Settled, so that it is not tried for ever; but of what it says nothing is kept.
        assert await ledger.settle_customer(lease, record, [notice("late mail")], NOW + MINUTE)
        for state in ("pending", "unknown"):
            await ledger.add_event(told(f"late {state}", "cus_1", email=ADA), state)
        await ledger.assign_event("nobodys", "cus_1", NOW)
        await ledger.add_link(Link("l", "sign-in", ("cus_9", "cus_1"), "", LATER, mailbox=ADA))
        kept = str(await everything(ledger._database))
        assert ADA not in kept
        assert "Byron" not in kept
        found = await ledger.customer("cus_1")
        assert found is not None
        assert (found.email, found.plan, found.changes) == ("", None, 0)
        assert (found.look_again, found.erased) == (None, NOW + MINUTE)
        assert await waiting(ledger, LATER) == []
        assert await ledger.link("l") is None
        assert "erase cus_1" in await due(ledger, LATER), "the worker's lease did not know of it"

    place.tell(story)


def test_requests_to_sign_in_are_found_however_the_address_was_typed(place: Place) -> None:
    odd = "Ärger@Straße.example"

    async def story(ledger: SqlLedger) -> None:
        await settle(ledger, "cus_1", odd)
        for number, typed in enumerate((odd, odd.upper(), odd.casefold(), f" {odd} ")):
            facts = {"email": typed, "browser": "b", "asked": NOW.isoformat()}
            await ledger.add_message(Notice(f"sign-in/{number}", "sign-in", facts), "", NOW)
        await ledger.add_event(told("e1", "", email=odd), "unknown")
        assert (await desk_of(ledger).erase("cus_1", NOW)).rows["outbox"] == 4
        assert await waiting(ledger, LATER) == []
        left = json.dumps(await everything(ledger._database), ensure_ascii=False)
        assert "example" not in left.replace("\\\\u", "\\u").casefold()

    place.tell(story)


def test_who_is_merged_away_is_erased_with_the_keeper_only() -> None:
    async def story(ledger: SqlLedger) -> None:
        await fill(ledger)
        desk = desk_of(ledger)
        assert await erase_customer("cus_none", desk, NOW) == "unknown"
        assert await erase_customer("cus_2", desk, NOW) == MergedAway("cus_1")
        outcome: Any = await erase_customer("cus_1", desk, NOW)
        assert outcome.rows["customers"] == 2
        again: Any = await erase_customer("cus_2", desk, NOW + MINUTE)
        assert (again.at, again.rows["customers"]) == (NOW, 0), "it is done already"

    in_memory().tell(story)


def test_no_byte_of_an_erased_address_stays_in_the_file(tmp_path: Path) -> None:
    """What SQLite deletes it leaves where it was, and in its journal, unless told otherwise."""
    path = tmp_path / "ledger.sqlite"

    async def story(ledger: SqlLedger) -> None:
        await fill(ledger)
        await desk_of(ledger).erase("cus_1", NOW)
        # While the store still serves.
        kept = {one.name: one.read_bytes().lower() for one in tmp_path.iterdir()}
        assert len(kept) == 3
        assert [name for name, text in kept.items() if ADA.lower().encode() in text] == []

    in_file(path).tell(story)
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert ADA.lower().encode() not in path.read_bytes().lower()


def test_a_window_begins_at_the_microsecond(place: Place) -> None:
    async def story(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        tick = timedelta(microseconds=1)
        assert (await desk_of(ledger).figures(NOW)).events.types == {"invoice.paid": 1}
        assert (await desk_of(ledger).figures(NOW + tick)).events.types == {}

    place.tell(story)
