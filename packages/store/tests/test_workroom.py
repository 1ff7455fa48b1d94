"""The work behind the pages ends when the store does."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from ledger_places import MINUTE, NOW, event, in_memory

from shimmy_store.adapters.sql_ledger import SqlLedger
from shimmy_store.domain.fulfilment import Alarm
from shimmy_store.domain.retry import Crash
from shimmy_store.server import workroom
from shimmy_store.server.meters import Meters
from shimmy_store.server.workroom import Workroom
from shimmy_store.use_cases.send_messages import Posted
from shimmy_store.use_cases.sweep_events import Swept


class Stubborn(Workroom):
    """Overhears being told to stop, as ``asyncio.wait_for`` of Python 3.11 sometimes does."""

    deaf = 1

    async def _nothing(self) -> bool:
        return False

    async def _send(self) -> bool:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            self.deaf -= 1
            if self.deaf < 0:
                raise
        return False

    _sweep = _clean = _watch = _nothing


@pytest.mark.parametrize("deaf", [0, 1, 3])
def test_it_stops_even_if_that_has_to_be_said_again(
    deaf: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workroom, "_FINISHING_SECONDS", 0.01)

    async def work() -> None:
        shop: Any = SimpleNamespace()
        room = Stubborn(shop, Meters())
        room.deaf = deaf
        room.start()
        await asyncio.sleep(0.01)
        async with asyncio.timeout(30):
            await room.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(work())


def test_a_mail_that_is_just_being_handed_over_is_noted_before_it_stops() -> None:
    done: list[str] = []

    class Sending(Stubborn):
        async def _send(self) -> bool:
            done.append("begun")
            await asyncio.sleep(0.1)
            done.append("noted")
            return True

    async def work() -> None:
        shop: Any = SimpleNamespace()
        room = Sending(shop, Meters())
        room.start()
        while not done:
            await asyncio.sleep(0)
        async with asyncio.timeout(30):
            await room.stop()

    asyncio.run(work())
    assert done == ["begun", "noted"], "and no other one was begun"


def test_what_never_began_has_nothing_to_stop() -> None:
    shop: Any = SimpleNamespace()
    asyncio.run(Workroom(shop, Meters()).stop())


def test_a_mistake_that_one_customer_meets_is_counted_and_logged_by_its_kind(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sweep(*_: object) -> Swept:
        return Swept(0, 1, (Crash("ZeroDivisionError", "evt_crashed1"),))

    async def send(*_: object) -> Posted:
        return Posted(0, 1, (Crash("KeyError"),))

    monkeypatch.setattr(workroom, "sweep_events", sweep)
    monkeypatch.setattr(workroom, "send_messages", send)
    shop: Any = SimpleNamespace(fulfilment=None, office=None)
    meters = Meters()

    async def work() -> None:
        room = Workroom(shop, meters)
        await room._sweep()
        await room._send()

    with caplog.at_level(logging.INFO, "shimmy_store.server.workroom"):
        asyncio.run(work())
    told = [one.__dict__["fields"] for one in caplog.records if one.message == "work-crashed"]
    assert told == [
        {"work": "events", "error": "ZeroDivisionError", "event_id": "evt_crashed1"},
        {"work": "mail", "error": "KeyError"},
    ]
    for name in ("events", "mail"):
        failed = meters.registry.get_sample_value(
            "shimmy_store_rounds_failed_total", {"work": name}
        )
        assert failed == 1


def test_work_that_is_late_is_watched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(ledger: SqlLedger) -> None:
        await ledger.add_event(event("e1"), "pending")
        shop: Any = SimpleNamespace(ledger=ledger, now=lambda: NOW + 31 * MINUTE)
        room = Workroom(shop, Meters())
        monkeypatch.setattr(room, "_sweep", room._clean)
        monkeypatch.setattr(room, "_send", room._clean)
        room.start()
        async with asyncio.timeout(60):
            while not await ledger.open_alarms():
                await asyncio.sleep(0.01)
        await room.stop()
        assert await ledger.open_alarms() == [Alarm("work-late", "events")]

    in_memory().tell(work)
