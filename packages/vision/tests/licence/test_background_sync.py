"""The thread that reports pages: asked often, at work once, gone when told."""

from __future__ import annotations

import threading
import time

import pytest
from threads import until

from shimmy_vision.adapters.licence.background_sync import BackgroundSync
from shimmy_vision.errors import LicenceServerError, LicenceStateError


class Work:
    """Waits in each round until it is let go."""

    def __init__(self, error: Exception | None = None) -> None:
        self.began = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.rounds = 0
        self.at_once = 0
        self.most_at_once = 0
        self.error = error

    def __call__(self) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.began.release()
        assert self.go.acquire(timeout=60)
        self.at_once -= 1
        self.rounds += 1
        if self.error is not None:
            raise self.error

    def await_begin(self) -> None:
        assert self.began.acquire(timeout=60)


def sync_threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name == "shimmy-sync"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> None:
    """Nor one of another test of this process, which may still be about to end."""
    until(lambda: not sync_threads())


def test_no_thread_begins_before_there_is_work() -> None:
    work = Work()
    sync = BackgroundSync(work)
    assert not sync_threads()
    sync.close(1)
    assert work.rounds == 0


def test_pokes_while_busy_become_one_more_round() -> None:
    work = Work()
    sync = BackgroundSync(work)
    sync.poke()
    work.await_begin()
    for _ in range(50):
        sync.poke()
    work.go.release(2)
    work.await_begin()
    sync.close(60)
    assert work.rounds == 2
    assert not sync_threads()


def test_what_was_asked_for_before_the_end_is_still_done() -> None:
    """A page committed during the last round is reported too: it may not outlive the process."""
    work = Work()
    sync = BackgroundSync(work)
    sync.poke()
    work.await_begin()
    sync.poke()
    closing = threading.Thread(target=sync.close, args=(60,))
    closing.start()
    work.go.release(2)
    closing.join(60)
    assert not closing.is_alive()
    assert work.rounds == 2
    assert not sync_threads()


def test_an_idle_thread_ends_without_another_round() -> None:
    work = Work()
    sync = BackgroundSync(work)
    work.go.release(2)
    sync.poke()
    work.await_begin()
    sync.close(60)
    assert work.rounds == 1
    assert not sync_threads()


@pytest.mark.parametrize(
    "error",
    [
        LicenceServerError("licence-server-unreachable", "the licence server was not reached"),
        LicenceStateError("licence-state-busy", "busy"),
    ],
)
def test_what_cannot_be_reported_now_does_not_end_it(error: Exception) -> None:
    work = Work(error)
    sync = BackgroundSync(work)
    for _ in range(3):
        sync.poke()
        work.await_begin()
        work.go.release()
    sync.close(60)
    assert work.rounds == 3
    assert not sync_threads()


def test_closing_waits_no_longer_than_it_says() -> None:
    work = Work()
    sync = BackgroundSync(work)
    sync.poke()
    work.await_begin()
    began = time.monotonic()
    sync.close(0.2)
    # Who waited for the round would wait for a minute.
    assert 0.15 < time.monotonic() - began < 20
    (thread,) = sync_threads()
    assert thread.daemon  # It does not keep a finished program alive.
    work.go.release()
    thread.join(60)
    sync.poke()
    assert not sync_threads()
    assert work.rounds == 1


def test_many_threads_that_poke_share_one() -> None:
    work = Work()
    work.go.release(1000)
    sync = BackgroundSync(work)
    ready = threading.Barrier(20)

    def poke() -> None:
        ready.wait(60)
        for _ in range(20):
            sync.poke()

    threads = [threading.Thread(target=poke) for _ in range(20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
        assert not one.is_alive()
    assert len(sync_threads()) <= 1
    sync.close(60)
    assert work.most_at_once == 1
    assert 1 <= work.rounds <= 400
    assert not sync_threads()
