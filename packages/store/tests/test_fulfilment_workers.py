"""Eight workers on one PostgreSQL ledger: everybody is served, and nobody twice."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from postgres_server import PostgresServer
from town import CATALOG, Town, open_town

from shimmy_store.adapters.jinja_letters import JinjaLetters
from shimmy_store.adapters.ledger_schema import migrate_ledger
from shimmy_store.adapters.postgres_database import PostgresDatabase
from shimmy_store.adapters.signed_links import SignedLinks
from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.catalog import parse_catalog
from shimmy_store.ports.ledger import HeardEvent
from shimmy_store.ports.mail import Mail
from shimmy_store.use_cases.fulfil_customer import Fulfilment
from shimmy_store.use_cases.send_messages import PostOffice, send_messages
from shimmy_store.use_cases.sweep_events import sweep_events

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

WORKERS, CUSTOMERS, ROUNDS = 8, 10, 400


@dataclass
class Postman:
    """Keeps what it is given, slowly."""

    mails: list[Mail] = field(default_factory=list)

    async def send(self, mail: Mail) -> None:
        await asyncio.sleep(0.01)
        self.mails.append(mail)


@dataclass
class Clerk:
    """A licence server's door that counts who goes through."""

    port: Any
    made: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.port, name)

    async def create(self, step: Any) -> Any:
        answer = await self.port.create(step)
        self.made[answer] += 1
        return answer


@asynccontextmanager
async def worker(town: Town, url: str, number: int) -> AsyncIterator[Fulfilment]:
    """One of eight, with connections of its own."""
    async with AsyncExitStack() as stack:
        database = await PostgresDatabase.open(url)
        stack.push_async_callback(database.close)
        await migrate_ledger(database)
        usual = await stack.enter_async_context(town.fulfilment())
        ledger = SqlLedger(database)
        licences = Clerk(usual.licences)
        yield replace(usual, ledger=ledger, licences=licences, owner=f"worker {number}")


async def serve(town: Town, url: str, events: list[dict[str, Any]], postman: Postman) -> None:
    """All workers hear all events, in different orders, and work until nothing is left."""
    async with AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(worker(town, url, number)) for number in range(WORKERS)
        ]

        async def work(number: int, fulfilment: Fulfilment) -> None:
            chance = random.Random(number)
            for event in chance.sample(events, len(events)):
                shown = event["data"]["object"]
                customer = shown["id"] if shown["object"] == "customer" else shown["customer"]
                at = town.now()
                heard = HeardEvent(event["id"], event["type"], customer or "", at, at, "{}")
                await fulfilment.ledger.add_event(heard, "pending")
            office = PostOffice(
                fulfilment.ledger,
                fulfilment.licences,
                postman,
                JinjaLetters(),
                SignedLinks(("a-secret-of-this-test-that-is-long-enough",)),
                parse_catalog(CATALOG),
                "http://127.0.0.1:9",
                town.now,
            )
            for _ in range(ROUNDS):
                await sweep_events(fulfilment, chance.random)
                await send_messages(office, chance.random)
                stock = await fulfilment.ledger.take_stock()
                if stock.oldest_event is None and not stock.messages_waiting:
                    return
                await asyncio.sleep(0.02)
            raise AssertionError(f"not done: {await fulfilment.ledger.take_stock()}")

        async with asyncio.TaskGroup() as group:
            for number, one in enumerate(workers):
                group.create_task(work(number, one))
        clerks = [one.licences for one in workers if isinstance(one.licences, Clerk)]
        assert sum(one.made["created"] for one in clerks) == CUSTOMERS


def test_eight_workers_serve_everybody_once(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.create_database()
    with open_town(tmp_path / "unused.sqlite") as town:
        bought: dict[str, Any] = {}
        for number in range(CUSTOMERS):
            customer = town.customer(f"{number}@example.com")
            bought[customer] = town.buy("developer", customer)
        town.pass_time(days=1)
        for customer in list(bought)[::2]:
            town.buy("startup", customer)
        listed = town.sdk.v1.events.list({"limit": 100}).auto_paging_iter()
        events = [json.loads(str(one)) for one in listed]
        events = [one for one in events if "customer" in one["data"]["object"]]
        postman = Postman()
        asyncio.run(serve(town, url, events, postman))
        assert town.count_licences() == CUSTOMERS
        for number, (customer, session) in enumerate(bought.items()):
            plan = "startup" if number % 2 == 0 else "developer"
            assert town.licence(session.subscription).plan == plan
            running = town.sdk.v1.subscriptions.list({"customer": customer}).data
            assert len(running) == 1
        sent = Counter(mail.key for mail in postman.mails)
        assert max(sent.values()) == 1, "nobody is told twice"
        assert len({mail.to for mail in postman.mails}) == CUSTOMERS
