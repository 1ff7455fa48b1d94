"""A reply was lost: were the pages counted? In doubt they were, so that none is counted twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shimmy_vision.domain.licence.certificate import LicenceProof
from shimmy_vision.domain.licence.licence_facts import LicenceFacts
from shimmy_vision.domain.licence.metering import (
    SETTLE_WAIT,
    Batch,
    fit_pages,
    is_month_settling,
    judge_silence,
)

START = datetime(2026, 11, 24, 12, tzinfo=UTC)
TICK = timedelta(microseconds=1)
MakeProof = Callable[..., LicenceProof]
MakeFacts = Callable[..., LicenceFacts]


@pytest.fixture(scope="session")
def make_facts(make_proof: MakeProof) -> MakeFacts:
    def make(uses: int, period: datetime | None, reset: datetime | None = None) -> LicenceFacts:
        proof = make_proof(uses=uses, period_start=period, max_uses=None)
        return replace(proof.facts, reset_at=reset)

    return make


def batch(pages: int, before: int, period: datetime | None = START) -> Batch:
    return Batch("b", pages, before, period, START)


def missed(pages: int, before: int, period: datetime | None = START) -> Batch:
    """A batch that a reading at START did not show."""
    return replace(batch(pages, before, period), doubted=START)


@pytest.mark.parametrize(
    ("uses", "after", "verdict"),
    [
        (100, timedelta(0), "too-early"),
        (104, SETTLE_WAIT - TICK, "too-early"),
        (100, SETTLE_WAIT, "not-applied"),
        (104, SETTLE_WAIT, "not-applied"),
        (104, timedelta(days=9), "not-applied"),
        (105, timedelta(0), "applied"),
        (105, SETTLE_WAIT, "applied"),
        (9000, SETTLE_WAIT, "applied"),
        (99, SETTLE_WAIT, "applied"),
        (0, SETTLE_WAIT, "applied"),
        (0, timedelta(0), "applied"),
    ],
)
def test_only_a_count_that_cannot_hold_the_batch_denies_it(
    uses: int, after: timedelta, verdict: str, make_facts: MakeFacts
) -> None:
    """Five pages, sent when the server had counted 100, and missed once."""
    facts = make_facts(uses, START)
    assert judge_silence(missed(5, 100), facts, START + after) == verdict
    once = judge_silence(batch(5, 100), facts, START + after)
    assert once == ("applied" if verdict == "applied" else "too-early"), "a first look denies none"


@pytest.mark.parametrize(
    ("sent", "seen"), [(START, START + timedelta(days=30)), (None, START), (START, None)]
)
@pytest.mark.parametrize("uses", [0, 100, 104, 105])
def test_after_a_change_of_month_nothing_is_sent_again(
    sent: datetime | None, seen: datetime | None, uses: int, make_facts: MakeFacts
) -> None:
    facts = make_facts(uses, seen)
    assert judge_silence(missed(5, 100, sent), facts, START + SETTLE_WAIT) == "applied"


def test_nothing_is_sent_around_a_reset(make_facts: MakeFacts) -> None:
    facts = make_facts(3, START, START)
    assert is_month_settling(facts, START)
    assert is_month_settling(facts, START + SETTLE_WAIT - TICK)
    assert not is_month_settling(facts, START + SETTLE_WAIT)
    assert not is_month_settling(make_facts(3, START), START)


@dataclass
class Server:
    """A count that others add to and a new month takes back to nothing.

    A month begins in two steps: its start is announced, and some time later, less than
    SETTLE_WAIT, the count is reset. ``arriving`` are increments on their way, each with when it
    arrives; none takes as long as SETTLE_WAIT.
    """

    uses: int = 0
    month: int = 0
    announced: float | None = None
    resets: list[float] = field(default_factory=list)
    cap: int | None = None
    arriving: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)
    counted: list[int] = field(default_factory=list)

    def take(self, pages: tuple[int, ...]) -> bool:
        """Count these pages of ours, all or none."""
        if self.cap is not None and self.uses + len(pages) > self.cap:
            return False
        self.uses += len(pages)
        self.counted += pages
        return True

    def announce(self, now: float, resets_in: float) -> None:
        self.month, self.announced = self.month + 1, now
        self.resets.append(now + resets_in)

    def advance(self, now: float) -> None:
        events: list[tuple[float, tuple[int, ...] | None]] = [*self.arriving]
        events += [(at, None) for at in self.resets]
        for at, pages in sorted(events, key=lambda one: one[0]):
            if at > now:
                continue
            if pages is None:
                self.uses = 0
            else:
                self.take(pages)
        self.arriving = [one for one in self.arriving if one[0] > now]
        self.resets = [at for at in self.resets if at > now]

    def read(self, make_facts: MakeFacts) -> LicenceFacts:
        reset = None if self.announced is None else START + timedelta(seconds=self.announced)
        return make_facts(self.uses, START + timedelta(days=30 * self.month), reset)


SETTLE = SETTLE_WAIT.total_seconds()
MOMENTS = st.floats(0, 1000) | st.sampled_from([0.0, SETTLE, SETTLE - 0.001, SETTLE + 0.001])
OTHERS = st.lists(st.tuples(MOMENTS, st.integers(1, 12)), max_size=5)


@settings(max_examples=1000)
@given(
    before=st.integers(0, 20),
    pages=st.integers(1, 10),
    pause=st.floats(0, 1),
    arrives=st.none() | st.floats(0, SETTLE, exclude_max=True),
    others=OTHERS,
    months=st.lists(MOMENTS, max_size=2),
    looks=st.lists(MOMENTS, min_size=1, max_size=5),
)
def test_a_batch_that_arrives_is_never_called_lost(
    before: int,
    pages: int,
    pause: float,
    arrives: float | None,
    others: list[tuple[float, int]],
    months: list[float],
    looks: list[float],
    make_facts: MakeFacts,
) -> None:
    """Whatever other machines count meanwhile, and whenever a month begins.

    However long the machine slept between reading and sending, too: ``pause`` is the share of the
    time before the first look that it did.
    """
    server = Server(uses=before)
    sent = batch(pages, before)
    events: list[tuple[float, str, int]] = [(at, "others", count) for at, count in others]
    events += [(at, "month", 0) for at in months] + [(at, "look", 0) for at in looks]
    if arrives is not None:
        events.append((pause * min(looks) + arrives, "arrival", pages))
    arrived = False
    for at, kind, count in sorted(events):
        if kind == "month":
            server.uses, server.month = 0, server.month + 1
        elif kind == "look":
            seen_at = START + timedelta(seconds=at)
            verdict = judge_silence(sent, server.read(make_facts), seen_at)
            settled = sent.doubted is not None and seen_at >= sent.doubted + SETTLE_WAIT
            if arrives is not None:
                assert verdict != "not-applied"
            if verdict == "too-early":
                assert not settled
                sent = replace(sent, doubted=sent.doubted or seen_at)
            if not others and not months and (settled or arrived):
                assert verdict == ("applied" if arrived else "not-applied")
        else:
            server.uses += count
            arrived = arrived or kind == "arrival"


Fate = Literal["counted", "reply lost", "never arrived", "late"]
STEPS = st.lists(
    st.tuples(
        st.floats(0, 700),
        st.sampled_from(["counted", "reply lost", "never arrived", "late", "late"]),
        st.floats(0, SETTLE, exclude_max=True),
        st.sampled_from([0.0, 0.0, 0.0, 1.0, SETTLE, 2 * SETTLE]),
        st.integers(0, 3),
        st.sampled_from([0, 0, 0, 1, 2, 7]),
        st.sampled_from([False] * 7 + [True]),
    ),
    max_size=12,
)


@dataclass
class Machine:
    """One machine that reports its pages as ``sync_pages`` does, each known by its number."""

    make_facts: MakeFacts
    made: int = 0
    waiting: list[int] = field(default_factory=list)
    doubtful: tuple[Batch, tuple[int, ...]] | None = None

    def analyse(self, pages: int) -> None:
        self.waiting += range(self.made, self.made + pages)
        self.made += pages

    def sync(self, server: Server, now: float, fate: Fate, delay: float, pause: float = 0) -> float:
        """When it is over: the machine may sleep for ``pause`` between reading and sending."""
        facts, at = server.read(self.make_facts), START + timedelta(seconds=now)
        if self.doubtful is not None:
            doubtful, pages = self.doubtful
            verdict = judge_silence(doubtful, facts, at)
            if verdict == "too-early":
                self.doubtful = (replace(doubtful, doubted=doubtful.doubted or at), pages)
                return now
            if verdict == "not-applied":
                self.waiting = [*pages, *self.waiting]
            self.doubtful = None
        if is_month_settling(facts, at):
            return now
        room = len(self.waiting)
        if server.cap is not None:
            room = min(room, max(server.cap - facts.uses, 0))
        assert room == fit_pages([1] * len(self.waiting), replace(facts, max_uses=server.cap))
        pages, self.waiting = tuple(self.waiting[:room]), self.waiting[room:]
        if not pages:
            return now
        server.advance(now + pause)
        batch = Batch("b", len(pages), facts.uses, facts.period_start, at)
        self._send(server, pages, (batch, now + pause + delay), fate)
        return now + pause

    def _send(
        self, server: Server, pages: tuple[int, ...], sent: tuple[Batch, float], fate: Fate
    ) -> None:
        batch, arrives = sent
        if fate == "counted":
            if not server.take(pages):  # Others took the room while this machine slept.
                self.waiting = [*pages, *self.waiting]
            return
        if fate == "reply lost":
            server.take(pages)
        elif fate == "late":
            server.arriving.append((arrives, pages))
        self.doubtful = (batch, pages)


@settings(max_examples=1500)
@given(steps=STEPS, cap=st.none() | st.integers(0, 25))
def test_no_page_is_ever_counted_twice(
    steps: list[tuple[float, Fate, float, float, int, int, bool]],
    cap: int | None,
    make_facts: MakeFacts,
) -> None:
    """Report after report, with replies lost, late arrivals, other machines and new months."""
    server, machine, now = Server(cap=cap), Machine(make_facts), 0.0
    for wait, fate, delay, pause, analysed, others, month in steps:
        now += wait
        server.advance(now)
        if month:
            server.announce(now, delay)
        server.uses += others
        machine.analyse(analysed)
        now = machine.sync(server, now, fate, delay, pause)
    server.advance(now + SETTLE)
    assert len(server.counted) == len(set(server.counted))
    assert set(server.counted) <= set(range(machine.made))


@given(steps=STEPS)
def test_alone_and_within_a_month_every_page_is_counted_once_in_the_end(
    steps: list[tuple[float, Fate, float, float, int, int, bool]], make_facts: MakeFacts
) -> None:
    """With nobody else at the count there is no doubt that time does not settle."""
    server, machine, now = Server(), Machine(make_facts), 0.0
    for wait, fate, delay, pause, analysed, _others, _month in steps:
        now += wait
        server.advance(now)
        machine.analyse(analysed)
        now = machine.sync(server, now, fate, delay, pause)
    for _ in range(3):
        now += SETTLE
        server.advance(now)
        machine.sync(server, now, "counted", 0)
    assert sorted(server.counted) == list(range(machine.made))
    assert server.uses == machine.made
