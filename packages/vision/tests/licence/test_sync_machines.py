"""Several machines that report to one count, while replies get lost and months end."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from licence_world import Customer, Shop, Sold, open_shop

from shimmy_sandbox.keygen import shop as keygen_shop
from shimmy_vision.domain.licence.metering import SETTLE_WAIT, Batch
from shimmy_vision.errors import LicenceError
from shimmy_vision.ports.licence_state import LicenceRecord
from shimmy_vision.use_cases.activate_licence import activate_licence
from shimmy_vision.use_cases.admit_pages import admit_pages
from shimmy_vision.use_cases.settle_pages import settle_pages
from shimmy_vision.use_cases.sync_pages import sync_pages

ONE_SHOP = True

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MACHINES = 2
LOST = ("no-request", "no-reply", "status", "status-after")


class PowerCut(BaseException):
    """The process ends here."""


@dataclass
class World:
    """One licence, its machines, and what is true of their pages."""

    shop: Shop
    folder: Path
    opened: ExitStack = field(default_factory=ExitStack)
    committed: int = 0
    counted_before: int = 0
    in_doubt: int = 0
    batches: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.shop.heal()
        self.shop.clock.freeze(NOON)
        self.sold: Sold = self.shop.sell("startup")
        names = [f"machine-{number}" for number in range(MACHINES)]
        self.customers = [
            Customer(self.shop, self.folder / name, name, opened=self.opened) for name in names
        ]
        self.processes = [customer.licensing() for customer in self.customers]
        for process in self.processes:
            activate_licence(self.sold.key, process)
        self.uses = 0

    # What happens

    def commit(self, place: int, pages: int) -> None:
        try:
            admission = admit_pages(pages, self.processes[place])
        except LicenceError as refused:
            assert refused.code == "page-cap-reached"
            return
        settle_pages(admission, self.processes[place], done=True)
        self.committed += pages

    def sync(self, place: int) -> str:
        outcome = sync_pages(self.sold.key, self.processes[place], force=True)
        self.note_doubt(place)
        return outcome

    def lose(self, place: int, kind: str) -> None:
        self.shop.fault(kind, path="increment-usage", status=503)
        self.sync(place)
        self.shop.heal()

    def crash(self, place: int, after: int) -> None:
        process = self.processes[place]
        increment = process.server.increment

        def cut(*args: Any) -> None:
            if after:
                increment(*args)
            raise PowerCut

        process.server.increment = cut  # type: ignore[method-assign,assignment]
        try:
            self.sync(place)
        except PowerCut:
            self.note_doubt(place)
        self.processes[place] = self.customers[place].licensing()

    def advance(self, seconds: int, _unused: int) -> None:
        self.shop.clock.advance(timedelta(seconds=seconds))

    def renew(self, _place: int, _unused: int) -> None:
        self.counted_before += self.shop.uses(self.sold)
        keygen_shop.renew(self.shop.server, self.sold.key)

    # What is true

    def batch(self, place: int) -> Batch | None:
        with self.processes[place].state.session(self.sold.key) as session:
            return session.batch()

    def record(self, place: int) -> LicenceRecord:
        with self.processes[place].state.session(self.sold.key) as session:
            return session.record

    def note_doubt(self, place: int) -> None:
        """Each report that was left without a reply may go uncounted, as a whole and once."""
        batch = self.batch(place)
        if batch is not None and batch.id not in self.batches:
            self.batches.add(batch.id)
            self.in_doubt += batch.pages

    def check(self) -> None:
        self.uses = self.counted_before + self.shop.uses(self.sold)
        assert self.uses <= self.committed

    def finish(self) -> None:
        for place in range(MACHINES):
            for _ in range(5):
                if self.sync(place) == "counted":
                    break
                self.shop.clock.advance(SETTLE_WAIT)
            assert self.record(place).waiting == 0
        self.check()
        given_up = sum(self.record(place).uncounted for place in range(MACHINES))
        assert self.committed - self.uses - given_up <= self.in_doubt
        assert self.committed == sum(self.record(place).total for place in range(MACHINES))


@pytest.fixture
def world(shop: Shop, tmp_path: Path) -> Iterator[World]:
    with ExitStack() as opened:
        yield World(shop, tmp_path, opened)


@pytest.mark.parametrize("kind", LOST)
def test_a_lost_reply_costs_at_most_its_report_and_never_a_customer(
    world: World, kind: str
) -> None:
    """The other machine's pages look like the lost ones: it is taken to have been counted."""
    world.commit(0, 7)
    world.lose(0, kind)
    world.commit(1, 9)
    assert world.sync(1) == "counted"
    assert world.sync(0) == "counted"
    applied = kind in ("no-reply", "status-after")
    assert world.shop.uses(world.sold) == (16 if applied else 9)
    world.finish()
    assert world.in_doubt == 7


def test_pages_of_others_that_are_too_few_leave_no_doubt_in_the_end(world: World) -> None:
    world.commit(0, 7)
    world.lose(0, "no-request")
    world.commit(1, 6)
    assert world.sync(1) == "counted"
    assert world.sync(0) == "in-doubt"
    world.finish()
    assert world.shop.uses(world.sold) == 13


@pytest.mark.parametrize("kind", LOST)
def test_a_month_that_ends_within_a_report_counts_none_of_it_twice(world: World, kind: str) -> None:
    world.commit(0, 7)
    world.lose(0, kind)
    world.advance(31 * 86_400, 0)
    world.renew(0, 0)
    world.commit(0, 5)
    world.finish()
    assert world.shop.uses(world.sold) == 5
    assert world.record(0).total == 12


def test_machines_that_race_for_the_last_pages_share_them(world: World) -> None:
    world.shop.change(world.sold, maxUses=10)
    for process in world.processes:
        activate_licence(world.sold.key, process)
    for _ in range(8):
        world.commit(0, 1)
        world.commit(1, 1)
    assert world.committed == 16
    outcomes = [world.sync(place) for place in (0, 1)]
    assert sorted(outcomes) == ["counted", "no-room"]
    assert world.shop.uses(world.sold) == 10
    world.commit(1, 1)
    assert world.committed == 16
    world.commit(0, 1)  # It has not heard of the other's pages yet, and hears of them now.
    assert (world.committed, world.sync(0)) == (17, "no-room")
    world.commit(0, 1)
    assert world.committed == 17
    assert world.shop.uses(world.sold) == 10


STEPS = st.one_of(
    st.tuples(st.just("commit"), st.integers(0, 1), st.integers(1, 9)),
    st.tuples(st.just("sync"), st.integers(0, 1)),
    st.tuples(st.just("lose"), st.integers(0, 1), st.sampled_from(LOST)),
    st.tuples(st.just("crash"), st.integers(0, 1), st.integers(0, 1)),
    st.tuples(st.just("advance"), st.sampled_from([1, 60, 301, 86_400]), st.just(0)),
    st.tuples(st.just("renew"), st.just(0), st.just(0)),
)


def test_no_page_is_ever_counted_twice_and_what_is_missing_was_in_doubt() -> None:
    with open_shop() as shop:
        phases = (Phase.explicit, Phase.generate, Phase.shrink)

        @settings(max_examples=40, deadline=None, phases=phases)
        @given(steps=st.lists(STEPS, min_size=5, max_size=25))
        def run(steps: list[tuple[Any, ...]]) -> None:
            with tempfile.TemporaryDirectory() as name, ExitStack() as opened:
                world = World(shop, Path(name), opened)
                for what, *values in steps:
                    getattr(world, what)(*values)
                    world.check()
                world.finish()

        run()
