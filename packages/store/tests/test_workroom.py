"""The work behind the pages ends when the store does."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from shimmy_store.server.meters import Meters
from shimmy_store.server.workroom import Workroom


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

    _sweep = _clean = _nothing


@pytest.mark.parametrize("deaf", [0, 1, 3])
def test_it_stops_even_if_that_has_to_be_said_again(deaf: int) -> None:
    async def work() -> None:
        shop: Any = SimpleNamespace()
        room = Stubborn(shop, Meters())
        room.deaf = deaf
        room.start()
        await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await room.stop()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(work())


def test_what_never_began_has_nothing_to_stop() -> None:
    shop: Any = SimpleNamespace()
    asyncio.run(Workroom(shop, Meters()).stop())
