"""The server restarts, crashes, is gone, refuses or says nothing; errors hold no secret."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from itertools import count
from urllib.parse import quote

import pytest
from ledger_places import MINUTE, NOW, due, event, notice, open_on_server
from postgres_server import PASSWORD, PostgresServer

from shimmy_store.adapters.postgres_database import PostgresDatabase
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Statement

PROGRAMS = 8


def check_secret(error: LedgerError, url: str) -> None:
    shown = "".join(traceback.format_exception(error)) + error.hint
    for secret in (url, PASSWORD, quote(PASSWORD, safe=""), PASSWORD.partition("/")[0]):
        assert secret not in shown


def test_after_a_restart_the_next_call_works(postgres: PostgresServer, url: str) -> None:
    async def story() -> None:
        async with open_on_server(url) as database:
            ledger = SqlLedger(database)
            nap = Statement("SELECT 1 FROM pg_sleep(0.05)")
            await asyncio.gather(*(database.batch([nap]) for _ in range(PROGRAMS)))
            await ledger.add_event(event("e1"), "pending")
            postgres.stop()
            postgres.start()
            assert await due(ledger) == ["e1"]

    asyncio.run(story())


def test_a_server_that_is_gone_is_named_without_its_secrets(
    postgres: PostgresServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")

    async def story() -> None:
        async with open_on_server(url) as database:
            ledger = SqlLedger(database)
            await ledger.add_event(event("e1"), "pending")
            postgres.stop()
            try:
                for _ in range(2):
                    with pytest.raises(LedgerError) as refused:
                        await due(ledger)
                    assert refused.value.retryable
                    check_secret(refused.value, url)
                with pytest.raises(LedgerError):
                    await PostgresDatabase.open(url)
            finally:
                postgres.start()
            assert await due(ledger) == ["e1"]

    asyncio.run(story())
    assert PASSWORD not in caplog.text


@pytest.mark.parametrize(
    ("right", "wrong"), [("/ledger_", "/absent_"), ("//ledger:", "//stranger:")]
)
def test_a_server_that_refuses_is_named_without_its_secrets(
    url: str, right: str, wrong: str
) -> None:
    elsewhere = url.replace(right, wrong)
    with pytest.raises(LedgerError, match=wrong.strip("/:")) as refused:
        asyncio.run(PostgresDatabase.open(elsewhere))
    check_secret(refused.value, elsewhere)


@pytest.mark.parametrize(
    "address",
    [
        "s3cr3t",
        "postgresql://user:%zz-s3cr3t@host/name",
        "postgresql://user:a@s3cr3t@host/name",
        "postgresql://user:s3cr3t/a@host/name",
        "postgresql://user:12/s3cr3t@host/name",
        "postgresql://us@er:s3cr3t@host/name",
    ],
)
def test_an_address_that_shows_a_password_is_refused(address: str) -> None:
    with pytest.raises(LedgerError) as refused:
        PostgresDatabase(address)
    assert "s3cr3t" not in "".join(traceback.format_exception(refused.value))


def test_a_server_that_says_nothing_is_left() -> None:
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(LedgerError):
        port = silent.getsockname()[1]
        address = f"postgresql://u@127.0.0.1:{port}/x?connect_timeout=2"
        asyncio.run(PostgresDatabase.open(address))
    # It would say nothing for ever.
    assert time.monotonic() - began < 30


class Log:
    """Programs that hear, settle and send, and go on after every failure."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._minutes = names, count()
        # The server has crashed as often as it will.
        self.over = threading.Event()
        self.sent: list[str] = []
        self.failed = 0

    async def work(self, ledger: SqlLedger) -> None:
        for name in self._names:
            while not await self._heard(ledger, name):
                await asyncio.sleep(0.01)
            await self._swept(ledger)
        while not self.over.is_set():
            # Heard before; but whoever is quick is at work when it crashes, too.
            await self._heard(ledger, self._names[0])
            await asyncio.sleep(0.01)
        while set(self.sent) != set(self._names):
            await self._swept(ledger)
            await asyncio.sleep(0.01)

    async def _heard(self, ledger: SqlLedger, name: str) -> bool:
        try:
            await ledger.add_event(event(name, f"cus_{name[-1]}"), "pending")
        except LedgerError:
            self.failed += 1
            return False
        return True

    async def _swept(self, ledger: SqlLedger) -> None:
        # Leases and messages that were taken before a failure are free again some rounds later.
        now = NOW + next(self._minutes) * MINUTE
        until = now + 4 * PROGRAMS * MINUTE
        with suppress(LedgerError):
            for customer in sorted({one.customer for one in await ledger.due_events(now, 3)}):
                lease = await ledger.lease_customer(customer, "a", now, until)
                if lease is not None:
                    pending = await ledger.due_events(now, 1000)
                    told = [notice(one.id) for one in pending if one.customer == customer]
                    await ledger.settle_customer(lease, lease.record, told, now)
            for message in await ledger.take_messages(now, until, 3):
                self.sent.append(message.notice.key)
                await ledger.mark_sent(message.notice.key, now)


def test_nothing_is_lost_when_the_server_crashes_under_eight_programs(
    postgres: PostgresServer, url: str
) -> None:
    names = [f"e{number}" for number in range(60)]
    log = Log(names)

    def crash() -> None:
        for _ in range(4):
            time.sleep(0.2)
            postgres.stop()
            postgres.start()
        log.over.set()

    async def story() -> None:
        async with AsyncExitStack() as stack:
            databases = [
                await stack.enter_async_context(open_on_server(url)) for _ in range(PROGRAMS)
            ]
            programs = [log.work(SqlLedger(one)) for one in databases]
            await asyncio.gather(asyncio.to_thread(crash), *programs)
            stock = await SqlLedger(databases[0]).take_stock()
            assert stock.events == {"done": len(names)}
            assert log.failed, "or it did not crash while they were at work"
            (kept,) = await databases[0].batch([Statement("SELECT key FROM outbox")])
            assert sorted(key for (key,) in kept) == sorted(names)

    asyncio.run(story())
