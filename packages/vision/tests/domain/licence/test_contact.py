"""When the licence server is asked again: often enough to notice, never in a hurry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.domain.licence.access import LicenceEvidence, decide_access
from shimmy_vision.domain.licence.certificate import LicenceProof
from shimmy_vision.domain.licence.contact import decide_contact
from shimmy_vision.domain.licence.licence_facts import Denial

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
TICK = timedelta(microseconds=1)

MakeProof = Callable[..., LicenceProof]
MakeEvidence = Callable[..., LicenceEvidence]


def asks(
    evidence: LicenceEvidence,
    after: timedelta,
    *,
    tried: timedelta | None = timedelta(0),
    cap_reached: bool = False,
) -> bool:
    """Whether the server is asked ``after`` NOW, when the proof was issued and last tried."""
    now = NOW + after
    at = None if tried is None else NOW + tried
    return decide_contact(evidence, decide_access(evidence, now), at, now, cap_reached=cap_reached)


def test_a_good_licence_is_confirmed_every_hour(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence()
    for tried in (timedelta(0), None):
        for after in (timedelta(0), TICK, 6 * MINUTE, HOUR - TICK):
            assert not asks(evidence, after, tried=tried)
        for after in (HOUR, HOUR + TICK, 20 * HOUR, 48 * HOUR):
            assert asks(evidence, after, tried=tried)


def test_after_a_failure_a_good_licence_waits_five_minutes(make_evidence: MakeEvidence) -> None:
    evidence, tried = make_evidence(trouble="it is not there"), 2 * HOUR
    for wait, asked in ((timedelta(0), False), (5 * MINUTE - TICK, False), (5 * MINUTE, True)):
        assert asks(evidence, tried + wait, tried=tried) is asked


@pytest.mark.parametrize(
    "change",
    [
        {"proof": None},
        {"proof": None, "trouble": "it is not there"},
        {"denial": Denial("SUSPENDED", "", NOW)},
        {"fingerprint": "5b" * 32},
        {"latest_seen": NOW + timedelta(days=9)},
    ],
)
def test_whoever_is_refused_asks_again_after_ten_seconds(
    change: dict[str, object], make_evidence: MakeEvidence
) -> None:
    evidence = make_evidence(**change)
    for wait, asked in ((timedelta(0), False), (10 * SECOND - TICK, False), (10 * SECOND, True)):
        assert asks(evidence, 2 * HOUR + wait, tried=2 * HOUR) is asked
    assert asks(evidence, timedelta(0), tried=None)


def test_a_used_up_month_is_asked_about_like_a_refusal(make_evidence: MakeEvidence) -> None:
    evidence = make_evidence()
    assert not asks(evidence, MINUTE, tried=None)
    assert asks(evidence, MINUTE, tried=None, cap_reached=True)
    assert not asks(evidence, 9 * SECOND, cap_reached=True)
    assert asks(evidence, 10 * SECOND, cap_reached=True)


def test_a_clock_set_back_does_not_keep_anyone_from_asking(make_evidence: MakeEvidence) -> None:
    """The last attempt lies in the future then, and so may the proof."""
    evidence = make_evidence()
    assert asks(evidence, -HOUR - TICK, tried=timedelta(0))
    assert asks(evidence, -3 * HOUR, tried=None)
    for after in (-TICK, -HOUR):
        assert not asks(evidence, after, tried=None)  # Off by a little: a corrected clock.
    refused = make_evidence(proof=None)
    for tried in (TICK, HOUR, timedelta(days=400)):
        assert asks(refused, timedelta(0), tried=tried)


def test_a_new_month_is_asked_for_when_it_begins(
    make_evidence: MakeEvidence, make_proof: MakeProof
) -> None:
    evidence = make_evidence(proof=make_proof(period_end=NOW + 20 * MINUTE))
    assert not asks(evidence, 20 * MINUTE - TICK)
    assert asks(evidence, 20 * MINUTE)
    assert not asks(evidence, 20 * MINUTE, tried=16 * MINUTE)
    assert asks(evidence, 21 * MINUTE, tried=16 * MINUTE)


@pytest.mark.parametrize("end", [timedelta(0), -TICK, -MINUTE, -timedelta(days=9)])
def test_a_month_that_ended_before_the_servers_word_is_none_to_ask_for(
    end: timedelta, make_evidence: MakeEvidence, make_proof: MakeProof
) -> None:
    """The server knew of it, and fulfilment is late: asking again at once would not help."""
    evidence = make_evidence(proof=make_proof(period_end=NOW + end))
    assert not asks(evidence, 20 * MINUTE, tried=None)


SPANS = st.integers(-20_000, 20_000).map(lambda seconds: seconds * SECOND)


@given(
    tried=st.none() | SPANS,
    after=SPANS,
    period=st.none() | SPANS,
    refused=st.booleans(),
    cap_reached=st.booleans(),
)
def test_the_rules_together(
    tried: timedelta | None,
    after: timedelta,
    period: timedelta | None,
    refused: bool,
    cap_reached: bool,
    make_evidence: MakeEvidence,
    make_proof: MakeProof,
) -> None:
    proof = make_proof(period_end=None if period is None else NOW + period)
    denial = Denial("SUSPENDED", "", NOW) if refused else None
    evidence = make_evidence(proof=proof, denial=denial, latest_seen=NOW + min(after, 0 * SECOND))
    asked = asks(evidence, after, tried=tried, cap_reached=cap_reached)
    urgent = refused or cap_reached
    pause = 10 if urgent else 300
    waiting = tried is not None and 0 <= (after - tried).total_seconds() < pause
    new_month = period is not None and 0 < period.total_seconds() <= after.total_seconds()
    old = not -3600 <= after.total_seconds() < 3600
    assert asked is (not waiting and (urgent or new_month or old))
