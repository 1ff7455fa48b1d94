"""The cases in which contestants meet: one image asked three times, several at once, a document.

Everybody is shown the same picture in the same repetition, and nobody has seen it before.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from peer_arena import OURS, PEERS, Arena, Taken, compare, say
from peer_contestants import Contestant, Reply, Shimmy, reply_of_result
from peer_material import ask, document, pages_of, screenshot

_MUCH_SLOWER = 1.5
_EVERYBODY = 2
"""Repetitions that a much slower peer takes part in, where there are more."""


def one_image(arena: Arena, _known: Mapping[str, Any]) -> dict[str, Any]:
    """A new screenshot in mode full, the same request again, the same image in mode layout."""
    order, names = arena.order, (OURS, *arena.order.peers)
    targets = {"new-screenshot": 0.40, "same-request-again": 0.01, "another-mode": 0.10}
    taken = {case: {name: Taken.nothing() for name in names} for case in targets}
    for repetition in range(order.repeat):
        image = screenshot(*order.size)
        asked = {
            "new-screenshot": ask(image, "full", order.max_tokens),
            "same-request-again": ask(image, "full", order.max_tokens),
            "another-mode": ask(image, "layout", order.max_tokens),
        }
        if repetition >= _EVERYBODY and not order.all_peers:
            names = _without_slow(taken["new-screenshot"])
        for contestant in arena.turns(repetition, names):
            for case, one in asked.items():
                seconds = taken[case][contestant.name].time(
                    contestant, partial(contestant.ask_all, [one])
                )
                say(f"{case} {repetition + 1}: {contestant.name} {seconds:.2f} s")
    return {case: compare(target, taken[case]) for case, target in targets.items()}


def _without_slow(taken: Mapping[str, Taken]) -> tuple[str, ...]:
    """Us, and the peers that are not much slower than the fastest."""
    walls = {name: min(one.walls) for name, one in taken.items() if name != OURS}
    least = min(walls.values(), default=0.0)
    return (OURS, *(name for name, wall in walls.items() if wall <= _MUCH_SLOWER * least))


def crowd(arena: Arena, known: Mapping[str, Any]) -> dict[str, Any]:
    """Several new screenshots at once: until the last answer is there."""
    order = arena.order
    names, left_out = _worth_asking(arena, known, order.crowd)
    taken = {name: Taken.nothing() for name in names}
    for repetition in range(order.long_repeat):
        images = [screenshot(*order.size) for _ in range(order.crowd)]
        asked = [ask(image, "full", order.max_tokens) for image in images]
        for contestant in arena.turns(repetition, names):
            seconds = taken[contestant.name].time(contestant, partial(contestant.ask_all, asked))
            say(f"four-at-once: {contestant.name} {seconds:.2f} s")
    return {"four-at-once": {**compare(0.40, taken), "left_out": left_out, "crowd": order.crowd}}


def paper(arena: Arena, known: Mapping[str, Any]) -> dict[str, Any]:
    """All pages of a PDF in mode ocr; peers get them as images, rendered within their time."""
    order = arena.order
    names, left_out = _worth_asking(arena, known, order.pages)
    taken, dpi = {name: Taken.nothing() for name in names}, 0
    for _ in range(order.long_repeat):
        pdf = document(order.pages)
        # Ours first: it tells the resolution that peers are given.
        for contestant in arena.turns(0, names):
            read = partial(_read, contestant, pdf, dpi, order.max_tokens)
            seconds = taken[contestant.name].time(contestant, read)
            if isinstance(contestant, Shimmy):
                dpi = taken[OURS].replies[-1][0].note["dpi"]
            say(f"document: {contestant.name} {seconds:.2f} s")
    told_with = {"left_out": left_out, "dpi": dpi, "pages": order.pages}
    return {"document": {**compare(0.40, taken), **told_with}}


def _read(contestant: Contestant, pdf: bytes, dpi: int, max_tokens: int) -> list[Reply]:
    """The text of every page, by whichever way the contestant has."""
    if not isinstance(contestant, Shimmy):
        pages = list(pages_of(pdf, dpi))
        return contestant.ask_all([ask(one, "ocr", max_tokens) for one in pages])
    began = time.perf_counter()
    results = [
        page["result"] for page in contestant.post(pdf, mode="ocr", max_tokens=max_tokens)["pages"]
    ]
    seconds = time.perf_counter() - began
    return [reply_of_result(result, seconds) for result in results]


def _worth_asking(
    arena: Arena, known: Mapping[str, Any], images: int
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Who takes part; a peer much slower at one image is left out of the cases of minutes.

    What it would take at least follows from its own prefill: it encodes one image after another.
    """
    names, left_out = arena.order.peers, {}
    alone = known.get("new-screenshot", {}).get("contestants", {})
    told = {name: alone[name] for name in PEERS if name in alone and name in names}
    if arena.order.all_peers or len(told) < 2:
        return (OURS, *names), {}
    least = min(one["wall_s"] for one in told.values())
    for name, one in told.items():
        if one["wall_s"] > _MUCH_SLOWER * least:
            longer = f"{one['wall_s'] / least:.1f} times the faster peer's time"
            left_out[name] = (
                f"one screenshot took it {longer}, {one['prefill_s']:.0f} s of it before the "
                f"first word; {images} images are encoded one after another"
            )
    return (OURS, *(name for name in names if name not in left_out)), left_out
