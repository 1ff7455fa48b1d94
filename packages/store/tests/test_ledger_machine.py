"""A ledger and beside it what is true, in plain Python; Hypothesis chooses what happens."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, TypeVar

import pytest
from d1_server import BridgedD1, D1Server
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from ledger_places import MINUTE, NOW, a_link, event, notice
from ledger_truth import OPEN, Event, Message, Numbered, Owned, Truth
from postgres_server import PostgresServer

from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.postgres_database import PostgresDatabase
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.domain.catalog import PlanId
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.ports.database import Database
from shimmy_store.ports.ledger import CustomerRecord, EventState, Stock

T = TypeVar("T")

CUSTOMERS = st.sampled_from(["cus_1", "cus_2", "cus_3"])
EVENTS = st.sampled_from([f"e{number}" for number in range(6)])
KEYS = st.sampled_from(["one", "it's", "100%s ?"])
LINKS = st.sampled_from(["l1", "l2"])
WAITS = st.none() | st.integers(0, 3)


class LedgerLife(RuleBasedStateMachine):
    """Every call of the port that changes something, against the truth."""

    connect: ClassVar[Callable[[], Awaitable[Database]]]
    leases: Bundle[Numbered] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.truth, self.minute, self.leased = Truth(), 0, 0

    @initialize()
    def open(self) -> None:
        self.database = self.run(type(self).connect())
        self.run(migrate_ledger(self.database))
        self.ledger = SqlLedger(self.database)

    def teardown(self) -> None:
        self.run(self.database.close())
        self.runner.close()

    def run(self, work: Awaitable[T]) -> T:
        async def waited() -> T:
            return await work

        return self.runner.run(waited())

    def at(self, minutes: int = 0) -> datetime:
        return NOW + (self.minute + minutes) * MINUTE

    def tell(self, keys: list[str], customer: str) -> None:
        for key in keys:
            self.truth.messages.setdefault(key, Message(self.minute, customer=customer))

    @rule(minutes=st.integers(1, 3))
    def wait(self, minutes: int) -> None:
        self.minute += minutes

    @rule(name=EVENTS, customer=CUSTOMERS, state=st.sampled_from(["pending", "pending", "unknown"]))
    def hear(self, name: str, customer: str, state: EventState) -> None:
        heard = replace(event(name, customer), received=self.at())
        new = self.run(self.ledger.add_event(heard, state))
        assert new == (name not in self.truth.events)
        self.truth.events.setdefault(
            name, Event(customer, state, self.minute, received=self.minute)
        )

    @rule(target=leases, customer=CUSTOMERS, minutes=st.integers(1, 3))
    def lease(self, customer: str, minutes: int) -> Any:
        owned = self.truth.customers.get(customer)
        lease = self.run(self.ledger.lease_customer(customer, "a", self.at(), self.at(minutes)))
        free = owned is None or owned.until <= self.minute
        assert (lease is not None) == free
        if lease is None:
            return multiple()
        self.leased += 1
        owned = self.truth.customers.setdefault(customer, Owned(CustomerRecord(customer)))
        owned.lease, owned.until = self.leased, self.minute + minutes
        assert lease.record == owned.record
        for one in self.truth.events.values():
            if one.customer == customer and one.state in OPEN:
                one.known_to = self.leased
        return self.leased, lease

    @rule(
        lease=leases,
        keys=st.lists(KEYS, max_size=2),
        email=st.sampled_from(["", "Ada@x", "aDA@X", "b@x"]),
        plan=st.sampled_from([None, "developer", "lifetime"]),
        look=st.none() | st.integers(-1, 4),
    )
    def settle(
        self,
        lease: Numbered,
        keys: list[str],
        email: str,
        plan: PlanId | None,
        look: int | None,
    ) -> None:
        customer = lease[1].record.customer
        at = None if look is None else self.at(look)
        record = CustomerRecord(customer, f"sub {lease[0]}", email, plan, lease[0], look_again=at)
        settled = self.run(
            self.ledger.settle_customer(lease[1], record, [notice(one) for one in keys], self.at())
        )
        assert settled == self.truth.holds(lease)
        if not settled:
            self.truth.overtaken(lease, self.minute)
            return
        self.truth.free(lease)
        owned = self.truth.customers[customer]
        if email and email != owned.record.email:
            self.truth.send_again(customer, self.minute)
        self.tell(keys, customer)
        owned.record = replace(
            record,
            merged_into=owned.record.merged_into,
            given_up=owned.record.given_up,
            settled=self.at(),
        )
        for one in self.truth.events.values():
            if one.customer == customer and one.known_to == lease[0] and one.state in OPEN:
                one.state = "done"

    @rule(lease=leases)
    def release(self, lease: Numbered) -> None:
        self.run(self.ledger.release_customer(lease[1], self.at()))
        if self.truth.holds(lease):
            self.truth.free(lease)
        else:
            self.truth.overtaken(lease, self.minute)

    @rule(lease=leases)
    def note_origin(self, lease: Numbered) -> None:
        noted = self.run(self.ledger.note_origin(lease[1], "sub noted"))
        assert noted == self.truth.holds(lease)
        if noted:
            owned = self.truth.customers[lease[1].record.customer]
            owned.record = replace(owned.record, origin="sub noted")

    @rule()
    def wake(self) -> None:
        self.run(self.ledger.wake_customers(self.at()))
        self.truth.wake(self.at())

    @rule(name=st.none() | EVENTS | KEYS)
    def retry(self, name: str | None) -> None:
        found = self.run(self.ledger.retry(name, self.at()))
        assert found == self.truth.retry(name, self.minute)

    @rule(first=leases, second=leases, link=LINKS)
    def merge(self, first: Numbered, second: Numbered, link: str) -> None:
        keeper, loser = (self.truth.customers[one[1].record.customer] for one in (first, second))
        assume(keeper is not loser)
        assume(not keeper.record.merged_into and not loser.record.merged_into)
        merged = self.run(
            self.ledger.merge_customers(first[1], second[1], ["sub_1"], link, self.at())
        )
        expires, used = self.truth.links.get(link, (0, None))
        held = self.truth.holds(first) and self.truth.holds(second)
        assert merged == (held and used is None and expires > self.minute)
        if not merged:
            return
        self.truth.links[link] = (expires, self.minute)
        kept, lost = keeper.record.customer, loser.record.customer
        for one in self.truth.customers.values():
            if one.record.merged_into == lost:
                one.record = replace(one.record, merged_into=kept)
        loser.record = replace(loser.record, merged_into=kept, given_up=("sub_1",))
        told = Event(kept, "pending", self.minute, received=self.minute, body=False)
        self.truth.events.setdefault(f"merge {link}", told)
        for lease in (first, second):
            self.truth.free(lease)

    @rule(name=EVENTS, customer=CUSTOMERS | st.just(""))
    def assign(self, name: str, customer: str) -> None:
        self.run(self.ledger.assign_event(name, customer, self.at()))
        one = self.truth.events.get(name)
        if one is not None and one.state == "pending":
            one.customer, one.state = customer, "pending" if customer else "done"

    @rule(name=EVENTS, wait=WAITS)
    def postpone_event(self, name: str, wait: int | None) -> None:
        again = None if wait is None else self.at(wait)
        self.run(self.ledger.postpone_event(name, "no network", again))
        one = self.truth.events.get(name)
        if one is not None and one.state == "pending":
            one.attempts, one.again = one.attempts + 1, self.minute + (wait or 0)
            if wait is None:
                one.state = "parked"
                self.truth.alarms.setdefault(Alarm("event-parked", name), True)

    @rule(key=KEYS)
    def add_message(self, key: str) -> None:
        self.run(self.ledger.add_message(notice(key), "cus_1", self.at()))
        self.tell([key], "cus_1")

    @rule(most=st.integers(1, 2), minutes=st.integers(1, 3))
    def take_messages(self, most: int, minutes: int) -> None:
        taken = self.run(self.ledger.take_messages(self.at(), self.at(minutes), most))
        due = [
            (key, one)
            for key, one in self.truth.messages.items()
            if one.state == "waiting" and one.again <= self.minute
        ][:most]
        found = [(one.notice.key, one.attempts, one.added) for one in taken]
        assert found == [(key, one.attempts, NOW + one.added * MINUTE) for key, one in due]
        for _, one in due:
            one.again = self.minute + minutes

    @rule(key=KEYS)
    def mark_sent(self, key: str) -> None:
        self.run(self.ledger.mark_sent(key, self.at()))
        if key in self.truth.messages:
            self.truth.messages[key].state = "sent"

    @rule(key=KEYS, wait=WAITS)
    def postpone_message(self, key: str, wait: int | None) -> None:
        again = None if wait is None else self.at(wait)
        self.run(self.ledger.postpone_message(key, "no network", again))
        one = self.truth.messages.get(key)
        if one is not None and one.state == "waiting":
            one.attempts, one.again = one.attempts + 1, self.minute + (wait or 0)
            if wait is None:
                one.state = "parked"
                self.truth.alarms.setdefault(Alarm("message-parked", key), True)

    @rule(name=LINKS, minutes=st.integers(0, 4))
    def add_link(self, name: str, minutes: int) -> None:
        self.run(self.ledger.add_link(replace(a_link(name), expires=self.at(minutes))))
        if self.truth.links.get(name, (0, None))[1] is None:
            self.truth.links[name] = (self.minute + minutes, None)

    @rule(name=LINKS)
    def use_link(self, name: str) -> None:
        used = self.run(self.ledger.use_link(name, "ours", self.at()))
        expires, before = self.truth.links.get(name, (0, None))
        assert used == (before is None and expires > self.minute)
        if used:
            self.truth.links[name] = (expires, self.minute)

    @rule(number=st.integers(0, 3))
    def acknowledge(self, number: int) -> None:
        alarm = [*self.truth.alarms, Alarm("wrong-mode", "e1")][: number + 1][-1]
        known = self.run(self.ledger.acknowledge_alarm(alarm, self.at()))
        assert known == self.truth.alarms.get(alarm, False)
        if known:
            self.truth.alarms[alarm] = False

    @rule()
    def forget(self) -> None:
        done = [
            one
            for one in self.truth.events.values()
            if one.state in ("done", "unknown") and one.received < self.minute and one.body
        ]
        over = [name for name, (expires, _) in self.truth.links.items() if expires < self.minute]
        assert self.run(self.ledger.forget(self.at(), 0)) == len(done) + len(over)
        for one in done:
            one.body = False
        for name in over:
            del self.truth.links[name]

    @invariant()
    def the_right_events_are_due(self) -> None:
        found = self.run(self.ledger.due_events(self.at(), 100))
        assert [(one.id, one.customer, one.attempts) for one in found] == [
            (name, one.customer, one.attempts)
            for name, one in self.truth.events.items()
            if one.state == "pending" and one.again <= self.minute
        ]

    @invariant()
    def everybody_who_is_free_and_due_has_a_turn(self) -> None:
        expected: dict[str, list[str]] = {}
        for name, one in self.truth.events.items():
            owned = self.truth.customers.get(one.customer)
            free = owned is None or owned.until <= self.minute
            if one.state == "pending" and one.again <= self.minute and free:
                expected.setdefault(one.customer or name, []).append(name)
        found = self.run(self.ledger.due_work(self.at(), 100))
        turns = [(names[0], len(names)) for names in expected.values()]
        assert [(one.event.id, one.events) for one in found] == turns
        assert self.run(self.ledger.due_work(self.at(), 1)) == found[:1]
        for customer in self.truth.customers:
            theirs = self.run(self.ledger.due_events(self.at(), 100, customer))
            assert [one.id for one in theirs] == [
                name
                for name, one in self.truth.events.items()
                if one.customer == customer and one.state == "pending" and one.again <= self.minute
            ]

    @invariant()
    def customers_are_on_record(self) -> None:
        records = [one.record for one in self.truth.customers.values()]
        for record in records:
            assert self.run(self.ledger.customer(record.customer)) == record
            members = self.run(self.ledger.merged_into(record.customer))
            assert {one.customer for one in members} == {
                one.customer for one in records if one.merged_into == record.customer
            }
        namesakes = {one.customer for one in records if one.email.casefold() == "ada@x"}
        found = self.run(self.ledger.customers_of("ADA@x"))
        assert {one.customer for one in found} == namesakes

    @invariant()
    def links_and_alarms_are_as_they_were_left(self) -> None:
        for name, (_, used) in self.truth.links.items():
            link = self.run(self.ledger.link(name))
            assert link is not None
            assert link.used == (None if used is None else NOW + used * MINUTE)
        alarms = [alarm for alarm, is_open in self.truth.alarms.items() if is_open]
        assert self.run(self.ledger.open_alarms()) == alarms

    @invariant()
    def stock_is_what_lies_there(self) -> None:
        events, messages = self.truth.events.values(), self.truth.messages.values()
        unsent = [one.added for one in messages if one.state == "waiting"]
        oldest = [one.received for one in events if one.state == "pending"]
        assert self.run(self.ledger.take_stock()) == Stock(
            dict(Counter(one.state for one in events)),
            NOW + min(oldest) * MINUTE if oldest else None,
            len(unsent),
            NOW + min(unsent) * MINUTE if unsent else None,
            sum(one.state == "parked" for one in messages),
            sum(self.truth.alarms.values()),
        )


def test_a_ledger_in_memory_holds_what_is_true() -> None:
    async def connect() -> Database:
        return SqliteDatabase(":memory:")

    live(connect, examples=80, steps=40)


@pytest.mark.slow
def test_a_ledger_on_a_server_holds_what_is_true(postgres: PostgresServer) -> None:
    async def connect() -> Database:
        return await PostgresDatabase.open(postgres.create_database())

    live(connect, examples=15, steps=30)


def test_a_ledger_on_d1_holds_what_is_true(d1: D1Server) -> None:
    async def connect() -> Database:
        return BridgedD1(d1.create_database())

    every = os.environ.get("SHIMMY_TEST_D1") == "all"
    live(connect, examples=15 if every else 2, steps=30 if every else 15)


def live(connect: Callable[[], Awaitable[Database]], *, examples: int, steps: int) -> None:
    """Lives of ledgers that are opened so."""

    class Life(LedgerLife):
        pass

    Life.connect = staticmethod(connect)
    chosen = settings(max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(Life, settings=chosen)
