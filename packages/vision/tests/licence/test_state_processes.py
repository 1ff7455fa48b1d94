"""Many processes on one state file, and what a kill at any point leaves behind."""

from __future__ import annotations

import random
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import licence_worker
import psutil
import pytest
from licence_worker import Process, Work, run, start
from licence_world import Customer, MakeCustomer, Shop, Sold
from threads import until

from shimmy_vision.adapters.licence.sqlite_licence_state import SqliteLicenceState
from shimmy_vision.domain.licence.metering import SETTLE_WAIT
from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licence_state import LicenceRecord
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.use_cases.sync_pages import sync_pages

ONE_SHOP = True

KILLED = -9
SEED = 20261125
TOGETHER = 20


@pytest.fixture
def sold(shop: Shop) -> Sold:
    return shop.sell("developer")


@pytest.fixture
def work(shop: Shop, sold: Sold, tmp_path: Path) -> Work:
    """For a machine without any state."""
    return Work(tmp_path / "machine", shop.server.url, sold.key)


def again(work: Work, customer: MakeCustomer) -> Customer:
    """The same machine, with whoever asks now."""
    return replace(customer(work.machine), folder=work.folder, given_key=work.key)


def final_record(machine: Customer) -> LicenceRecord:
    """After as many reports as a doubt takes; opening the file checks every seal and every sum."""
    key, clock = machine.given_key or "", machine.shop.clock
    for _ in range(3):
        with machine.process() as process:
            outcome = sync_pages(key, process, force=True, wait=5)
        if outcome == "counted":
            break
        assert outcome == "in-doubt"
        clock.advance(SETTLE_WAIT)
    with machine.process() as process, process.state.session(key) as session:
        return session.record


def machines(shop: Shop, sold: Sold) -> int:
    return len(shop.admin.get(f"licenses/{sold.id}/machines").json()["data"])


def test_twenty_processes_that_start_with_nothing_but_a_key_are_one_machine(
    shop: Shop, sold: Sold, work: Work, customer: MakeCustomer
) -> None:
    crowd = [partial(licence_worker.analyse, replace(work, seed=n)) for n in range(TOGETHER)]
    assert run(*crowd) == [0] * TOGETHER
    assert machines(shop, sold) == 1
    assert shop.asked().count("POST machines") == 1
    assert shop.uses(sold) <= work.noted()
    record = final_record(again(work, customer))
    assert (record.waiting, record.reserved, record.uncounted) == (0, 0, 0)
    assert record.total == work.noted() == shop.uses(sold) > TOGETHER


def test_processes_that_find_a_damaged_file_at_once_heal_it_once(
    shop: Shop, sold: Sold, work: Work, customer: MakeCustomer
) -> None:
    work.folder.mkdir()
    (work.folder / "licence.sqlite").write_bytes(b"no database" * 500)
    crowd = [partial(licence_worker.analyse, replace(work, seed=n)) for n in range(8)]
    assert run(*crowd) == [0] * 8
    assert len(list(work.folder.glob("licence.sqlite.damaged-*"))) == 1
    assert machines(shop, sold) == 1
    record = final_record(again(work, customer))
    assert record.total == work.noted() == shop.uses(sold)


def test_processes_that_open_and_close_all_the_time_lose_no_session(tmp_path: Path) -> None:
    """The log is removed and made again under their hands; each waits, none goes without a file."""
    path = tmp_path / "new" / "licence.sqlite"
    assert run(*[partial(licence_worker.count_up, path, 60)] * 6) == [0] * 6
    with (
        closing(SqliteLicenceState(path, "account")) as state,
        state.session("key") as session,
    ):
        assert (state.durable, session.record.total) == (True, 360)


def test_processes_killed_at_random_lose_and_double_nothing(
    shop: Shop, sold: Sold, work: Work, customer: MakeCustomer
) -> None:
    shop.change(sold, maxUses=1_000_000)
    chance, kills = random.Random(SEED), 0
    crowd: list[Process] = []
    zombies: list[Process] = []
    for seed in range(66):
        crowd.append(start(licence_worker.analyse_for_ever, replace(work, seed=seed)))
        if len(crowd) >= 6:
            time.sleep(chance.uniform(0.005, 0.05))
            victim = crowd.pop(chance.randrange(len(crowd)))
            assert victim.exitcode is None
            victim.kill()
            kills += 1
            zombies.append(victim)  # Its parent does not ask for it yet.
            assert shop.uses(sold) <= work.noted() + 3 * (kills + len(crowd))
    # However slow the machine: there was something to lose.
    until(lambda: work.noted() > kills + len(crowd))
    for one in crowd:
        assert one.exitcode is None
        one.kill()
        kills += 1
    zombies += crowd
    assert kills == 66
    machine = again(work, customer)
    with machine.process() as process, process.state.session(sold.key) as session:
        before = session.record
    assert shop.uses(sold) <= before.total
    # What a process had committed when it was killed, it may not have noted.
    assert work.noted() <= before.total <= work.noted() + 3 * kills
    record = final_record(machine)
    assert (record.waiting, record.reserved, record.uncounted) == (0, 0, 0)
    assert shop.uses(sold) == record.total == before.total > kills
    assert machines(shop, sold) == 1
    for one in zombies:
        one.join()
        assert one.exitcode == KILLED
        one.close()


@pytest.mark.parametrize("damaged", [False, True])
def test_a_kill_before_any_statement_leaves_all_or_nothing(
    shop: Shop, work: Work, customer: MakeCustomer, damaged: bool
) -> None:
    """From an empty folder, or a damaged file, until a process gets through its report."""
    tried: list[Work] = []
    ended: set[int | None] = {KILLED}
    while ended == {KILLED}:
        some = [
            replace(work, key=shop.sell().key, folder=work.folder.with_name(f"machine-{n}"))
            for n in range(len(tried), len(tried) + TOGETHER)
        ]
        if damaged:
            for one in some:
                one.folder.mkdir()
                (one.folder / "licence.sqlite").write_bytes(b"no database" * 500)
        numbered = enumerate(some, len(tried) + 1)
        ended = set(run(*(partial(licence_worker.die_at_statement, one, n) for n, one in numbered)))
        tried += some
    assert ended <= {KILLED, 0}
    assert len(tried) > 50
    for one in tried:
        machine = again(one, customer)
        if damaged:
            with machine.process() as process:
                settle_pages(admit_pages(1, process), process, done=True)
                one.note(1)
        record = final_record(machine)
        assert (record.waiting, record.reserved, record.uncounted) == (0, 0, 0)
        assert record.total - one.noted() in (0, 3)
        assert shop.uses(shop.find(one.key)) == record.total
        assert len(list(one.folder.glob("licence.sqlite.damaged-*"))) == damaged


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_around_an_increment_counts_its_pages_once(
    shop: Shop, sold: Sold, work: Work, customer: MakeCustomer, after: bool
) -> None:
    assert run(partial(licence_worker.die_at_increment, work, after=after)) == [KILLED]
    assert shop.uses(sold) == (3 if after else 0)
    machine = again(work, customer)
    with machine.process() as process:
        known = sync_pages(work.key, process, force=True)
    # Pages that cannot be in the count may still be on their way.
    assert (known, shop.uses(sold)) == (("counted", 3) if after else ("in-doubt", 0))
    record = final_record(again(work, customer))
    assert (record.total, record.waiting, shop.uses(sold)) == (3, 0, 3)


def test_reservations_of_the_dead_are_released_and_those_of_the_living_are_not(
    shop: Shop, sold: Sold, work: Work, customer: MakeCustomer
) -> None:
    shop.change(sold, maxUses=10)
    machine = again(work, customer)
    with machine.process() as living:
        admission = admit_pages(4, living)
        dying = start(licence_worker.reserve_and_wait, work, 5)
        while not work.noted():
            time.sleep(0.01)
        with pytest.raises(LicenceError, match="9 of 10 pages"):
            admit_pages(2, living)
        dying.kill()
        deadline = time.monotonic() + 60
        while not is_dead_or_zombie(dying.pid):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        second = admit_pages(6, living)  # Nobody has asked yet how the other process ended.
        with living.state.session(work.key) as session:
            assert session.record.reserved == 10
        dying.join()
        dying.close()
        for one in (admission, second):
            settle_pages(one, living, done=True)
    assert final_record(again(work, customer)).total == shop.uses(sold) == 10


def is_dead_or_zombie(number: int | None) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
