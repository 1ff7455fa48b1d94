"""A host without loops: what an answer leaves is worked off when it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import stripe
from store_server import Store

from shimmy_store.adapters.ledger_schema import MIGRATIONS, check_ledger, migrate_ledger
from shimmy_store.adapters.sqlite_database import SqliteDatabase
from shimmy_store.adapters.stripe_over_httpx import StripeOverHttpx
from shimmy_store.errors import LedgerError
from shimmy_store.ports.database import Statement
from shimmy_store.ports.ledger import HeardEvent
from shimmy_store.server import worker_host
from shimmy_store.server.worker_host import WorkerHost
from shimmy_store.wiring import Shop, open_shop

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def _told(store: Store, story: Callable[[WorkerHost, Shop], Awaitable[None]]) -> None:
    async def run() -> None:
        async with open_shop(store.settings, store.town.now) as shop:
            await story(WorkerHost(shop), shop)

    asyncio.run(run())


async def _ask(host: WorkerHost, method: str, path: str, **more: Any) -> httpx.Response:
    transport = httpx.ASGITransport(host)
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
        return await client.request(method, path, **more)


def test_its_lifespan_is_empty_and_ends_with_nothing(store: Store) -> None:
    async def story(host: WorkerHost, _shop: Shop) -> None:
        asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
        told: list[str] = []

        async def receive() -> Any:
            return next(asked)

        async def send(message: Any) -> None:
            told.append(message["type"])

        for _ in range(2):
            asked = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
            await host({"type": "lifespan"}, receive, send)
        assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"] * 2
        # As after every request there: it answers on.
        assert (await _ask(host, "GET", "/pricing")).status_code == 200
        assert not host.was_woken()

    _told(store, story)


def test_visitors_are_told_apart_by_what_the_edge_says(store: Store) -> None:
    async def story(host: WorkerHost, _shop: Shop) -> None:
        wrong = {"Authorization": "Bearer wrong"}
        for address in ("203.0.113.7", "203.0.113.8"):
            said = {"CF-Connecting-IP": address}
            answers = [
                await _ask(host, "POST", "/view-license", json={"key": f"k{n}"}, headers=said)
                for n in range(21)
            ]
            assert [one.status_code for one in answers[-2:]] == [404, 429]
        # Nobody comes from loopback there, whatever he says of himself.
        assert (await _ask(host, "GET", "/metrics", headers=wrong)).status_code == 403

    _told(store, story)


def test_an_event_is_acknowledged_first_and_worked_off_then(store: Store) -> None:
    async def story(host: WorkerHost, shop: Shop) -> None:
        assert not host.was_woken()
        store.town.customer("later@example.com")
        body = b'{"id":"evt_worker","type":"invoice.paid","livemode":false,"created":1800000000,'
        body += b'"data":{"object":{"object":"invoice","customer":"cus_nobody"}}}'
        header = stripe.WebhookSignature.generate_signature_header(
            body.decode(), store.settings.webhook_secrets[0], int(store.town.now().timestamp())
        )
        signed = {"Stripe-Signature": str(header)}
        answer = await _ask(host, "POST", "/stripe-webhook", content=body, headers=signed)
        assert answer.json() == {"received": "new"}
        assert host.was_woken()
        assert not host.was_woken()
        await host.work_off()
        again = await _ask(host, "POST", "/stripe-webhook", content=body, headers=signed)
        assert again.json()["received"] != "new"
        assert not host.was_woken()

    _told(store, story)


def test_one_call_asks_for_no_more_than_a_worker_may(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_host, "MOST_WORK", 3)

    async def story(host: WorkerHost, shop: Shop) -> None:
        now = store.town.now()
        for number in range(8):
            told = (f"evt_many_{number}", "invoice.paid", f"cus_none_{number}")
            await shop.ledger.add_event(HeardEvent(*told, now, now, "{}", ""), "pending")
        for left in (5, 2, 0):
            await host.work_off()
            assert len(await shop.ledger.due_events(shop.now(), 100)) == left

    _told(store, story)


def test_ticks_that_overlap_and_isolates_side_by_side_deliver_once(store: Store) -> None:
    emails = [f"overlap-{number}@example.com" for number in range(4)]
    before = store.town.count_licences()
    for email in emails:
        store.town.buy("lifetime", store.town.customer(email))

    async def story(host: WorkerHost, shop: Shop) -> None:
        other = WorkerHost(shop)
        for _ in range(2):
            await asyncio.gather(
                *(host.tend(), host.tend(), other.tend()),
                *(host.reconcile(), other.reconcile(), other.work_off()),
            )

    _told(store, story)
    for email in emails:
        assert "licence" in store.mail(email, "licence")
        assert len(store.mails(email)) == 1
    assert store.town.count_licences() - before == len(emails)


def test_whoever_asks_how_it_is_does_not_have_stripe_asked_each_time(store: Store) -> None:
    async def story(host: WorkerHost, shop: Shop) -> None:
        asked: list[str] = []
        reach = shop.holdings.reach

        async def counted() -> None:
            asked.append("keygen")
            await reach()

        object.__setattr__(shop, "holdings", SimpleNamespace(reach=counted))
        for _ in range(4):
            assert (await _ask(host, "GET", "/health")).status_code == 200
        assert asked == ["keygen"]
        # Nobody waits for another's answer: their requests may end at any time.
        store.town.pass_time(seconds=6)
        await asyncio.gather(*(_ask(host, "GET", "/health") for _ in range(3)))
        assert 2 <= len(asked) <= 4

    _told(store, story)


def test_tables_are_looked_at_and_not_made(tmp_path: Path) -> None:
    async def story() -> None:
        database = SqliteDatabase(tmp_path / "ledger.sqlite", on_thread=False)
        with pytest.raises(LedgerError) as none:
            await check_ledger(database)
        assert none.value.code == "ledger-not-migrated"
        assert "wrangler d1 migrations apply" in none.value.hint
        await migrate_ledger(database)
        await check_ledger(database)
        await database.batch([Statement("DELETE FROM migrations WHERE number = ?", (1,))])
        with pytest.raises(LedgerError, match=f"needs {len(MIGRATIONS)}"):
            await check_ledger(database)
        # A version that is rolled out next to this one has made its step first.
        more = [Statement("INSERT INTO migrations (number) VALUES (?)", (n,)) for n in (1, 99)]
        await database.batch(more)
        await check_ledger(database)
        await database.close()

    asyncio.run(story())


def test_stripes_client_goes_over_any_transport_and_tries_again() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        if len(seen) == 1:
            raise httpx.ConnectError("no")
        return httpx.Response(200, json={"id": "cus_1", "object": "customer"})

    async def story() -> str:
        http = StripeOverHttpx(httpx.MockTransport(answer), 5)
        client = stripe.StripeClient("sk_test_1", http_client=http, max_network_retries=1)
        made = await client.v1.customers.create_async({"email": "ä@example.com"})
        await http.close_async()
        return str(made.id)

    assert asyncio.run(story()) == "cus_1"
    first, second = seen
    assert first.content == second.content == b"email=%C3%A4%40example.com"
    # Else the second try would be a second customer.
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
