"""Contestants, started when first asked and kept for the cases that follow; a case's figures."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import psutil

from peer_contestants import Contestant, Pair, Reply, Shimmy, llama_cpp_python, shimmy, xllamacpp

OURS = "shimmy"
PEERS = ("llama-cpp-python", "xllamacpp")


@dataclass(frozen=True, slots=True)
class Order:
    """How much to measure. ``size`` of screenshots in pixels; ``pages`` of the document."""

    threads: int
    repeat: int
    max_tokens: int
    peers: tuple[str, ...]
    size: tuple[int, int] = (1280, 720)
    pages: int = 8
    crowd: int = 4
    encoder_repeat: int = 5
    all_peers: bool = False

    @property
    def long_repeat(self) -> int:
        """Of cases that take minutes."""
        return max(1, self.repeat // 3)


class Arena:
    """One process a contestant; all end with the block."""

    def __init__(self, pair: Pair, variables: Mapping[str, str], order: Order) -> None:
        self.pair, self.variables, self.order = pair, dict(variables), order
        self._running: dict[str, Contestant] = {}
        self._closing = ExitStack()

    def __enter__(self) -> Arena:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everybody; who is asked again starts anew."""
        self._running.clear()
        self._closing.close()

    def ours(self) -> Shimmy:
        """Our server."""
        found = self.get(OURS)
        if not isinstance(found, Shimmy):
            raise TypeError(OURS)
        return found

    def get(self, name: str) -> Contestant:
        """The contestant, its pair loaded."""
        if name not in self._running:
            say(f"starting {name}")
            self._running[name] = self._closing.enter_context(self._opened(name))
        return self._running[name]

    def _opened(self, name: str) -> Any:
        threads = self.order.threads
        match name:
            case "shimmy":
                return shimmy(self.variables, threads)
            case "llama-cpp-python":
                return llama_cpp_python(self.pair, threads)
            case "xllamacpp":
                return xllamacpp(self.pair, threads)
            case _:
                raise ValueError(name)

    def turns(self, repetition: int, names: Sequence[str]) -> list[Contestant]:
        """All of them, another one first each time."""
        first = repetition % len(names)
        return [self.get(name) for name in (*names[first:], *names[:first])]


@dataclass(slots=True)
class Taken:
    """What one contestant took: seconds, of the clock and of processors, and its replies."""

    walls: list[float]
    processor: list[float]
    replies: list[list[Reply]]

    @classmethod
    def nothing(cls) -> Taken:
        """Before the first repetition."""
        return cls([], [], [])

    def time(self, who: Contestant, work: Callable[[], list[Reply]]) -> float:
        """One repetition more: has ``work`` done, which ``who`` does. Its seconds.

        Of one reply the contestant's own clock counts: one of them lives behind a pipe of ours.
        """
        spent, began = _processor(who.pid), time.perf_counter()
        replies = work()
        seconds = time.perf_counter() - began if len(replies) > 1 else replies[0].seconds
        self.walls.append(seconds)
        self.processor.append(_processor(who.pid) - spent)
        self.replies.append(replies)
        return seconds


def compare(target: float, taken: Mapping[str, Taken]) -> dict[str, Any]:
    """A case of the result: medians, ours over the best peer's, and whether the work was the same.

    ``ratio_same_length`` is what it were had everybody written as many tokens as the longest
    answer, at their own pace.
    """
    longest = max(_generated(one) for one in taken.values())
    told = {name: _figures(one, longest) for name, one in taken.items()}
    case: dict[str, Any] = {"target": target, "unit": "ratio", "contestants": told}
    peers = [name for name in told if name != OURS]
    if OURS not in told or not peers:
        return case
    best = min(peers, key=lambda name: told[name]["wall_s"])
    case["best_peer"] = best
    for key, told_as in (
        ("wall_s", "ratio"),
        ("same_length_s", "ratio_same_length"),
        ("prefill_s", "ratio_prefill"),
        ("processor_s", "ratio_processor"),
    ):
        if told[best].get(key):
            case[told_as] = round(told[OURS][key] / told[best][key], 4)
    case["met"] = case["ratio"] <= target
    tokens = {name: one["prompt_tokens"] for name, one in told.items()}
    case["prompt_tokens_over_best_peer"] = tokens[OURS] - tokens[best]
    return case


def _processor(pid: int) -> float:
    """Seconds of processors that a process and all below it have taken."""
    top = psutil.Process(pid)
    times = [one.cpu_times() for one in (top, *top.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def _generated(taken: Taken) -> float:
    return statistics.median(sum(one.generated for one in replies) for replies in taken.replies)


def _figures(taken: Taken, longest: float) -> dict[str, Any]:
    last, generated = taken.replies[-1], _generated(taken)
    images = [one.image_tokens for one in last if one.image_tokens is not None]
    figures: dict[str, Any] = {
        "wall_s": round(statistics.median(taken.walls), 4),
        "wall_all_s": [round(value, 4) for value in taken.walls],
        "processor_s": round(statistics.median(taken.processor), 2),
        "prompt_tokens": sum(one.prompt_tokens for one in last),
        "image_tokens": sum(images) if images else None,
        "generated": generated,
        "note": last[0].note,
    }
    if len(last) > 1:
        return figures
    prefill = statistics.median(replies[0].prefill_s for replies in taken.replies)
    generate = statistics.median(replies[0].generate_s for replies in taken.replies)
    figures["prefill_s"], figures["generate_s"] = round(prefill, 4), round(generate, 4)
    if generate:
        figures["tokens_per_s"] = round(generated / generate, 2)
    longer = generate * longest / generated if generated else generate
    figures["same_length_s"] = round(prefill + longer, 4)
    return figures


def say(words: str) -> None:
    """Progress."""
    print(words, file=sys.stderr, flush=True)
