"""More than the store can answer in time are told so at once, and it is well again afterwards."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, get_args

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse
from store_server import Store

from shimmy_store.domain.admission import BUSY_SECONDS, MOST_AT_ONCE, Kind, decide_admission
from shimmy_store.server.guard import Guard
from shimmy_store.server.meters import Meters

# Stripe's client calls httpx in a way that httpx no longer likes; that is not our business.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

WEBHOOK = "/stripe-webhook"


@dataclass
class Slow:
    """Answers when it is told to."""

    go: asyncio.Event = field(default_factory=asyncio.Event)
    inside: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.inside += 1
        if scope["path"] != "/alive":
            await self.go.wait()
        await PlainTextResponse("done")(scope, receive, send)


@given(st.sampled_from(get_args(Kind)), st.integers(0, 1000))
def test_only_whoever_asks_for_health_is_always_let_in(kind: Kind, under_way: int) -> None:
    free = kind == "health" or under_way < MOST_AT_ONCE[kind]
    assert (decide_admission(kind, under_way) == "let-in") is free


@pytest.mark.parametrize("crowd", ["webhook", "visit"])
def test_a_crowd_is_shed_and_keeps_nobody_else_out(store: Store, crowd: str) -> None:
    path, other = (WEBHOOK, "/pricing") if crowd == "webhook" else ("/pricing", WEBHOOK)
    most, extra = MOST_AT_ONCE[crowd], 20

    async def run() -> None:
        slow = Slow()
        guard = Guard(slow, store.settings, Meters())
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url=store.url) as client:
            asked = [asyncio.create_task(client.post(path)) for _ in range(most + extra)]
            async with asyncio.timeout(60):
                # Each is either let in or done.
                while slow.inside + sum(one.done() for one in asked) < len(asked):
                    await asyncio.sleep(0)
            done = [one for one in asked if one.done()]
            waiting = [one for one in asked if not one.done()]
            assert (len(done), slow.inside) == (extra, most)
            for one in done:
                refused = one.result()
                assert refused.status_code == 503
                assert refused.json()["code"] == "store-busy"
                assert refused.headers["retry-after"] == str(BUSY_SECONDS)
                assert refused.headers["cache-control"] == "no-store"
            assert (await client.get("/alive")).status_code == 200
            third = asyncio.create_task(client.post(other))
            while slow.inside < most + 2:
                await asyncio.sleep(0)
            slow.go.set()
            assert {(await one).status_code for one in (*waiting, third)} == {200}
            # All places are free again.
            asked = [asyncio.create_task(client.post(path)) for _ in range(most)]
            assert {(await one).status_code for one in asked} == {200}

    asyncio.run(run())


def test_a_place_is_given_back_whatever_happens(store: Store) -> None:
    async def crash(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError

    async def run() -> None:
        transport = httpx.ASGITransport(Guard(crash, store.settings, Meters()))
        async with httpx.AsyncClient(transport=transport, base_url=store.url) as client:
            answers = [await client.post(WEBHOOK) for _ in range(MOST_AT_ONCE["webhook"] + 1)]
            assert {one.status_code for one in answers} == {500}

    asyncio.run(run())
