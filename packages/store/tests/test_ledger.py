"""What the store remembers, on a real SQLite file, with several workers at it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe

from shimmy_store.adapters.ledger_schema import MIGRATIONS, migrate_ledger
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.errors import LedgerError
from shimmy_store.ports.ledger import CustomerRecord, HeardEvent, Lease, Message
from shimmy_store.use_cases.receive_event import Endpoint, Rejected, receive_event

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LIVE, TEST = Endpoint(["whsec_a"], livemode=True), Endpoint(["whsec_a"], livemode=False)
Work = Callable[[SqlLedger], Awaitable[Any]]


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqlLedger]:
    database = SqliteDatabase(path)
    try:
        await migrate_ledger(database)
        yield SqlLedger(database)
    finally:
        database.close()


@pytest.fixture
def on_ledger(tmp_path: Path) -> Callable[[Work], Any]:
    """Runs some work on the ledger, opened anew each time."""

    async def run(work: Work) -> Any:
        async with opened(tmp_path / "ledger.sqlite") as ledger:
            return await work(ledger)

    return lambda work: asyncio.run(run(work))


def event(name: str, customer: str = "cus_1") -> HeardEvent:
    return HeardEvent(name, "invoice.paid", customer, NOW, NOW, "{}")


async def leased(ledger: SqlLedger, owner: str = "a", now: datetime = NOW) -> Lease:
    lease = await ledger.lease_customer("cus_1", owner, now, now + MINUTE)
    assert lease is not None
    return lease


def test_migrations_are_applied_once(tmp_path: Path) -> None:
    async def twice() -> tuple[int, int]:
        database = SqliteDatabase(tmp_path / "ledger.sqlite")
        steps = await migrate_ledger(database), await migrate_ledger(database)
        database.close()
        return steps

    assert asyncio.run(twice()) == (len(MIGRATIONS), 0)


def test_an_event_is_kept_once(on_ledger: Callable[[Work], Any]) -> None:
    async def work(ledger: SqlLedger) -> list[bool]:
        return [await ledger.add_event(event(one), "pending") for one in ("e1", "e1", "e2")]

    assert on_ledger(work) == [True, False, True]
    due = on_ledger(lambda ledger: ledger.due_events(NOW, 10))
    assert [one.id for one in due] == ["e1", "e2"]


def test_settling_is_all_or_nothing_and_only_with_the_lease(
    on_ledger: Callable[[Work], Any],
) -> None:
    message, alarm = Message("licence/1", "cus_1", "licence", "{}"), Alarm("partial-refund", "p")

    async def work(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        stale = await leased(ledger, "a")
        lease = await leased(ledger, "b", NOW + MINUTE)
        record = CustomerRecord("cus_1", origin="sub_1")
        assert not await ledger.settle_customer(stale, record, [message], NOW)
        assert await ledger.due_messages(NOW, 10) == []
        for _ in range(2):
            await ledger.raise_alarms([alarm], NOW)
        assert len(await ledger.due_events(NOW, 10)) == 1
        for _ in range(2):
            assert await ledger.settle_customer(lease, record, [message], NOW)
            assert await ledger.due_events(NOW, 10) == []
            lease = await leased(ledger, "c", NOW)
        assert (lease.record.origin, lease.record.settled) == ("sub_1", NOW)
        assert await ledger.due_messages(NOW, 10) == [message]
        assert await ledger.open_alarms() == [alarm]

    on_ledger(work)


def test_what_is_heard_while_looking_is_looked_at_again(on_ledger: Callable[[Work], Any]) -> None:
    async def work(ledger: SqlLedger) -> list[str]:
        await ledger.add_event(event("e1"), "pending")
        lease = await leased(ledger)
        await ledger.add_event(event("e2"), "pending")
        await ledger.settle_customer(lease, lease.record, [], NOW)
        return [one.id for one in await ledger.due_events(NOW, 10)]

    assert on_ledger(work) == ["e2"]


def test_one_of_many_workers_has_a_customer(tmp_path: Path) -> None:
    async def race() -> list[bool]:
        databases = [SqliteDatabase(tmp_path / "ledger.sqlite") for _ in range(8)]
        await migrate_ledger(databases[0])
        tries = (
            SqlLedger(one).lease_customer("cus_1", f"worker {number}", NOW, NOW + MINUTE)
            for number, one in enumerate(databases)
        )
        found = [lease is not None for lease in await asyncio.gather(*tries)]
        for one in databases:
            one.close()
        return found

    assert sum(asyncio.run(race())) == 1


def test_a_lease_that_ran_out_is_anybodys(on_ledger: Callable[[Work], Any]) -> None:
    async def work(ledger: SqlLedger) -> None:
        lease = await leased(ledger, "a")
        assert await ledger.lease_customer("cus_1", "b", NOW + MINUTE / 2, NOW + MINUTE) is None
        await ledger.release_customer(lease)
        await leased(ledger, "b")
        await leased(ledger, "c", NOW + MINUTE)

    on_ledger(work)


def test_failures_wait_and_are_parked_in_the_end(on_ledger: Callable[[Work], Any]) -> None:
    async def work(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        await ledger.postpone_event("e1", "no network", NOW + MINUTE)
        assert await ledger.due_events(NOW, 10) == []
        (again,) = await ledger.due_events(NOW + MINUTE, 10)
        assert again.attempts == 1
        await ledger.postpone_event("e1", "still none", None)
        assert await ledger.open_alarms() == [Alarm("event-parked", "e1")]
        assert await ledger.due_events(NOW + 1000 * MINUTE, 10) == []
        assert await ledger.oldest_pending() == NOW
        lease = await leased(ledger)
        await ledger.settle_customer(lease, lease.record, [], NOW)
        assert await ledger.oldest_pending() is None, "looking at the customer settles it too"

    on_ledger(work)


def test_messages_are_sent_once_and_tried_again(on_ledger: Callable[[Work], Any]) -> None:
    async def work(ledger: SqlLedger) -> None:
        lease = await leased(ledger)
        message = Message("licence/1", "cus_1", "licence", "{}")
        await ledger.settle_customer(lease, lease.record, [message], NOW)
        await ledger.postpone_message("licence/1", "mailbox full", NOW + MINUTE)
        assert await ledger.due_messages(NOW, 10) == []
        assert await ledger.due_messages(NOW + MINUTE, 10) == [message]
        await ledger.mark_sent("licence/1", NOW)
        assert await ledger.due_messages(NOW + MINUTE, 10) == []

    on_ledger(work)


def test_a_ledger_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as refused:
        SqliteDatabase(tmp_path / "no/such/folder/ledger.sqlite")
    assert (refused.value.code, refused.value.retryable) == ("ledger-unusable", True)


def test_a_full_disk_keeps_nothing_of_a_batch(tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "ledger.sqlite"
        database = SqliteDatabase(path)
        await migrate_ledger(database)
        ledger = SqlLedger(database)
        pages = sqlite3.connect(path).execute("PRAGMA page_count").fetchone()[0]
        database._connection.execute(f"PRAGMA max_page_count={pages}")
        heard = HeardEvent("e1", "invoice.paid", "cus_1", NOW, NOW, "x" * 100_000)
        with pytest.raises(LedgerError, match="full"):
            await ledger.add_event(heard, "pending")
        assert await ledger.due_events(NOW, 10) == []
        database.close()

    asyncio.run(work())


def body(**changes: Any) -> bytes:
    shown = {"object": "invoice", "id": "in_1", "customer": "cus_1"}
    basis = {
        "id": "evt_1",
        "type": "invoice.paid",
        "created": 1_764_000_000,
        "livemode": False,
        "data": {"object": shown},
    }
    return json.dumps({**basis, **changes}).encode()


def signed(data: bytes) -> str:
    at = int(NOW.timestamp())
    header = stripe.WebhookSignature.generate_signature_header(data.decode(), "whsec_a", at)
    return str(header)


@pytest.mark.parametrize(
    ("data", "endpoint", "answer"),
    [
        (body(), TEST, "new"),
        (body(type="product.created"), TEST, "unknown-type"),
        (body(), LIVE, Rejected("wrong-mode")),
        (b"[]", TEST, Rejected("no-event")),
        (b"{}", TEST, Rejected("no-event")),
        (body(data={"object": None}), TEST, Rejected("no-event")),
        (body(livemode="false"), TEST, Rejected("no-event")),
        (body(created=1e300), TEST, Rejected("no-event")),
    ],
)
def test_what_is_received(
    data: bytes, endpoint: Endpoint, answer: object, on_ledger: Callable[[Work], Any]
) -> None:
    def receive(ledger: SqlLedger) -> Awaitable[Any]:
        return receive_event(data, signed(data), endpoint, ledger, NOW)

    assert on_ledger(receive) == answer
    if not isinstance(answer, Rejected):
        assert on_ledger(receive) == "heard-before"
    due = on_ledger(lambda ledger: ledger.due_events(NOW, 10))
    assert [one.customer for one in due] == (["cus_1"] if answer == "new" else [])
    alarmed = answer == Rejected("wrong-mode")
    alarms = on_ledger(lambda ledger: ledger.open_alarms())
    assert alarms == ([Alarm("wrong-mode", "evt_1")] if alarmed else [])


def test_a_dispute_names_its_payment(on_ledger: Callable[[Work], Any]) -> None:
    shown = {"object": "dispute", "id": "dp_1", "payment_intent": "pi_1", "charge": "ch_1"}
    data = body(type="charge.dispute.created", data={"object": shown})
    assert on_ledger(lambda ledger: receive_event(data, signed(data), TEST, ledger, NOW)) == "new"
    (due,) = on_ledger(lambda ledger: ledger.due_events(NOW, 10))
    assert (due.customer, due.payment) == ("", "pi_1")


def test_a_forged_event_is_not_kept(on_ledger: Callable[[Work], Any]) -> None:
    data = body()
    forged = signed(body(id="evt_2"))
    answer = on_ledger(lambda ledger: receive_event(data, forged, TEST, ledger, NOW))
    assert answer == Rejected("wrong-signature")
    assert on_ledger(lambda ledger: ledger.due_events(NOW, 10)) == []
