"""Who computes next: on a clock that only the work itself moves."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import pytest
from threads import Background, until

from shimmy_vision.adapters.engine.compute_turns import ComputeTurns
from shimmy_vision.errors import DeadlineError, LibraryError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation

ANY = Cancellation()


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class _Steps:
    """A decoder with ``left`` steps of ``seconds`` each."""

    def __init__(self, clock: _Clock, log: list[str], left: int, seconds: float) -> None:
        self.clock, self.log, self.left, self.seconds = clock, log, left, seconds
        self.failed: LibraryError | None = None

    def due(self, now: float, *, patient: bool) -> float | None:
        return now if self.left else None

    def step(self) -> None:
        self.log.append("step")
        self.clock.now += self.seconds
        self.left -= 1  # Last: whoever waits for it reads the log then.

    def abandon(self, error: LibraryError) -> None:
        self.failed = error


class _Held:
    """Turns whose thread is held by an errand until ``release``, so that work piles up."""

    def __init__(self, turns: ComputeTurns) -> None:
        self._go, begun = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            assert self._go.wait(60)

        self._errand = Background(lambda: turns.errand(hold, ANY))
        assert begun.wait(60)

    def release(self) -> None:
        self._go.set()
        self._errand.result()


def test_all_work_is_done_on_one_thread_and_comes_back() -> None:
    turns = ComputeTurns()
    names = {turns.encode(threading.get_ident, ANY), turns.errand(threading.get_ident, ANY)}
    assert len(names) == 1
    assert threading.get_ident() not in names
    with pytest.raises(ZeroDivisionError):
        turns.encode(lambda: 1 // 0, ANY)
    assert turns.encode(lambda: 7, ANY) == 7
    turns.close()


def _slice(clock: _Clock, log: list[str], name: str, seconds: float) -> Callable[[], None]:
    def work() -> None:
        log.append(name)
        clock.now += seconds

    return work


def test_after_a_slice_decoding_may_take_as_long_as_it_did() -> None:
    clock, log = _Clock(), list[str]()
    turns = ComputeTurns(clock)
    held, decoder = _Held(turns), _Steps(clock, log, left=9, seconds=0.3)
    callers = []
    for number, seconds in enumerate((1.0, 0.5, 1.0)):
        work = _slice(clock, log, f"slice {number}", seconds)
        callers.append(Background(lambda work=work: turns.encode(work, ANY)))  # type: ignore[misc]
        until(lambda number=number: turns.waiting == number + 1)  # type: ignore[misc]
    with turns.decoding(decoder):
        pass
    held.release()
    for caller in callers:
        caller.result()
    until(lambda: decoder.left == 0)
    first, second = ["slice 0", *["step"] * 4], ["slice 1", *["step"] * 2]
    assert log == [*first, *second, "slice 2", *["step"] * 3]
    turns.close()


def test_slices_do_not_wait_for_a_decoder_without_work() -> None:
    clock, log = _Clock(), list[str]()
    turns = ComputeTurns(clock)
    turns.encode(_slice(clock, log, "first", 1000.0), ANY)
    with turns.decoding(_Steps(clock, log, left=0, seconds=1.0)):
        pass
    turns.encode(_slice(clock, log, "second", 1000.0), ANY)
    assert log == ["first", "second"]
    turns.close()


@pytest.mark.parametrize(
    ("reason", "kind"), [("interrupted", StoppedError), ("deadline", DeadlineError)]
)
def test_who_is_cancelled_leaves_the_queue_at_once(reason: str, kind: type[StoppedError]) -> None:
    turns, log, switch = ComputeTurns(), list[str](), Cancellation()
    held = _Held(turns)
    caller = Background(lambda: turns.encode(lambda: log.append("never"), switch))
    until(lambda: turns.waiting == 1)
    switch.cancel("deadline" if reason == "deadline" else "interrupted")
    with pytest.raises(kind):
        caller.result()  # while the thread is still held
    assert turns.waiting == 0
    held.release()
    turns.encode(lambda: log.append("next"), ANY)
    assert log == ["next"]
    turns.close()


def test_who_is_cancelled_while_running_waits_for_the_end() -> None:
    turns, switch = ComputeTurns(), Cancellation()
    begun, go, ended = threading.Event(), threading.Event(), list[bool]()

    def work() -> None:
        begun.set()
        assert go.wait(60)
        ended.append(True)

    def encode() -> list[bool]:
        try:
            turns.encode(work, switch)
        except StoppedError:
            return list(ended)
        raise AssertionError("it was cancelled")

    caller = Background(encode)
    assert begun.wait(60)
    switch.cancel("interrupted")
    go.set()
    assert caller.result() == [True]
    turns.close()


def test_closing_turns_everybody_away() -> None:
    turns = ComputeTurns()
    held, decoder = _Held(turns), _Steps(_Clock(), [], left=1, seconds=1.0)
    waiting = Background(lambda: turns.encode(lambda: None, ANY))
    until(lambda: turns.waiting == 1)
    with turns.decoding(decoder):
        pass
    closing = Background(turns.close)
    with pytest.raises(LibraryError) as refused:
        waiting.result()
    assert refused.value.code == "engine-closed"
    held.release()
    closing.result()
    assert decoder.failed is not None
    assert decoder.left == 1
    with pytest.raises(LibraryError), ExitStack() as stack:
        stack.enter_context(turns.decoding(decoder))
    with pytest.raises(LibraryError):
        turns.encode(lambda: None, ANY)
    turns.close()


def _is_done(decoder: _Steps) -> bool:
    return decoder.left == 0


def test_dropping_the_turns_ends_their_thread_and_frees_the_decoder() -> None:
    turns, decoder = ComputeTurns(), _Steps(_Clock(), [], left=1, seconds=1.0)
    with turns.decoding(decoder):
        pass
    until(partial(_is_done, decoder))
    thread = turns.encode(threading.current_thread, ANY)
    watched = weakref.ref(decoder)
    del decoder
    until(lambda: gc.collect() >= 0 and watched() is None)
    del turns
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()
