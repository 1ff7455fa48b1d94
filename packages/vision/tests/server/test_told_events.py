"""What a reader has not heard yet is bounded, and no text of it is lost."""

from __future__ import annotations

import asyncio
import math

from shimmy_vision.errors import OutputError, ShimmyError
from shimmy_vision.ports.analyst import PageOutcome
from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Written
from shimmy_vision.server.json_text import JsonResponse, write_json
from shimmy_vision.server.told_events import Finished, Told, ToldEvents


async def heard(events: ToldEvents) -> list[Told]:
    found = [await events.get()]
    while not isinstance(found[-1], Finished | ShimmyError):
        found.append(await events.get())
    return found


def test_a_reader_who_lags_hears_all_text_and_little_else() -> None:
    async def tell() -> list[Told]:
        events = ToldEvents()
        for number in range(5000):
            events.put(Progress("generate", number, 5000))
            events.put(PageProgress(1, 0, 2, Progress("encode", number, 5000)))
            events.put(Written(0, "a"))
        for _ in range(5000):
            events.put(PageWritten(1, Written(0, "b")))
            events.put(PageWritten(2, Written(0, "c")))
            events.put(PageWritten(2, Written(0, "c")))
            if len(events) > 12_000:
                break
        assert events.put(Finished(None))
        return await heard(events)

    found = asyncio.run(tell())
    written = [told.text for told in found if isinstance(told, Written)]
    assert "".join(written) == "a" * 5000
    assert len(written) < 70
    pages = [told.within.text for told in found if isinstance(told, PageWritten)]
    assert "".join(pages) == "bcc" * 5000
    assert sum(isinstance(told, Progress | PageProgress) for told in found) < 70


def test_nobody_piles_up_results_without_end() -> None:
    async def tell() -> list[Told]:
        events = ToldEvents()
        told = [events.put(PageOutcome(page, {}, None)) for page in range(1, 400)]
        assert told.count(False) == 1
        return await heard(events)

    found = asyncio.run(tell())
    assert len(found) == 257
    assert isinstance(found[-1], OutputError)


def test_who_hears_in_time_hears_everything() -> None:
    async def tell() -> int:
        events, count = ToldEvents(), 0
        for page in range(1000):
            events.put(Progress("encode", page, 1000))
            events.put(PageOutcome(page, {}, None))
            for _ in range(2):
                await events.get()
                count += 1
        return count

    assert asyncio.run(tell()) == 2000


def test_what_goes_out_is_always_json() -> None:
    odd = {"a": [math.nan, 1.5, (math.inf,)], "b": "\ud800"}
    assert write_json(odd) == '{"a": [null, 1.5, [null]], "b": "\\ud800"}'
    assert JsonResponse(odd).body == write_json(odd).encode()
    assert write_json({"ä": 1}, compact=True) == '{"ä":1}'
