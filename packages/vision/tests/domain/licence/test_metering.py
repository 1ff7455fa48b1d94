"""Pages against the cap: what may start, what is warned of, what is reported when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shimmy_vision.domain.licence.access import Notice
from shimmy_vision.domain.licence.certificate import LicenceProof
from shimmy_vision.domain.licence.metering import (
    BATCH_PAGES,
    BATCH_WAIT,
    SYNC_PAUSE,
    Batch,
    Usage,
    fit_pages,
    is_sync_due,
    judge_pages,
    period_unheard_of,
    sum_usage,
)
from shimmy_vision.domain.licence.pinned import PINNED
from shimmy_vision.domain.licence.refusals import Refused, explain_cap

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TICK, MINUTE, DAY = timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=1)

MakeProof = Callable[..., LicenceProof]


def judged(proof: LicenceProof, counted: int, pages: int = 1) -> str:
    """The code of a refusal or of a warning, or that there is none."""
    answer = judge_pages(proof, Usage(counted, 0, 0), pages, PINNED, NOW)
    if isinstance(answer, Refused):
        return answer.code
    return answer[0].code if answer else "free"


def test_the_last_page_may_start_and_none_behind_it(make_proof: MakeProof) -> None:
    proof = make_proof(max_uses=1000)
    assert judged(proof, 998) == "pages-95-percent"
    assert judged(proof, 999) == "pages-95-percent"
    assert judged(proof, 1000) == "page-cap-reached"
    assert judged(proof, 998, 2) == "pages-95-percent"
    assert judged(proof, 999, 2) == "page-cap-reached"
    assert judged(proof, 5000, 0) == "page-cap-reached"


@pytest.mark.parametrize("cap", [1000, 2500, 100, 20])
def test_warnings_begin_at_80_and_at_95_percent_exactly(cap: int, make_proof: MakeProof) -> None:
    proof = make_proof(max_uses=cap)
    assert judged(proof, cap * 80 // 100 - 2) == "free"
    assert judged(proof, cap * 80 // 100 - 1) == "pages-80-percent"
    assert judged(proof, cap * 95 // 100 - 2) == "pages-80-percent"
    assert judged(proof, cap * 95 // 100 - 1) == "pages-95-percent"


@given(cap=st.integers(1, 10**12), used=st.integers(0, 10**12), pages=st.integers(1, 500))
@example(cap=7, used=4, pages=1)
@example(cap=10**15, used=8 * 10**14 - 2, pages=1)
@example(cap=10**15, used=8 * 10**14 - 1, pages=1)
def test_shares_of_a_cap_are_not_rounded(
    cap: int, used: int, pages: int, make_proof: MakeProof
) -> None:
    share = Fraction(used + pages, cap)
    expected = "free"
    for limit, code in ((Fraction(80, 100), "80"), (Fraction(95, 100), "95")):
        if share >= limit:
            expected = f"pages-{code}-percent"
    if share > 1:
        expected = "page-cap-reached"
    assert judged(make_proof(max_uses=cap), used, pages) == expected


@given(
    counted=st.integers(0, 10**9),
    waiting=st.integers(0, 10**9),
    reserved=st.integers(0, 10**9),
    pages=st.integers(1, 500),
)
def test_without_a_cap_pages_are_free(
    counted: int, waiting: int, reserved: int, pages: int, make_proof: MakeProof
) -> None:
    proof = make_proof(max_uses=None)
    assert judge_pages(proof, Usage(counted, waiting, reserved), pages, PINNED, NOW) == ()


def test_pages_on_this_machine_count_like_those_of_the_server(make_proof: MakeProof) -> None:
    proof = make_proof(max_uses=10)
    for usage in (Usage(10, 0, 0), Usage(0, 10, 0), Usage(0, 0, 10), Usage(4, 3, 3)):
        assert usage.total == 10
        refused = judge_pages(proof, usage, 1, PINNED, NOW)
        assert refused == explain_cap(10, 10, 1, None, PINNED)


def test_a_cap_of_nothing_lets_nothing_start(make_proof: MakeProof) -> None:
    assert judged(make_proof(max_uses=0), 0) == "page-cap-reached"


def test_a_warning_says_how_much_and_until_when(make_proof: MakeProof) -> None:
    proof = make_proof(max_uses=2500, period_end=NOW + 7 * DAY)
    assert judge_pages(proof, Usage(1990, 5, 4), 1, PINNED, NOW) == (
        Notice("pages-80-percent", "2,000 of 2,500 pages are used this month until 2026-12-01."),
    )
    assert judge_pages(make_proof(max_uses=2500), Usage(2375, 0, 0), 1, PINNED, NOW) == (
        Notice("pages-95-percent", "2,376 of 2,500 pages are used this month."),
    )


def test_a_month_that_is_over_is_nothing_to_wait_for(make_proof: MakeProof) -> None:
    for end, said in ((NOW + TICK, "More come on"), (NOW, "used this month.")):
        refused = judge_pages(
            make_proof(max_uses=1, period_end=end), Usage(1, 0, 0), 1, PINNED, NOW
        )
        assert isinstance(refused, Refused)
        assert said in refused.reason
        assert ("Wait until then" in refused.remedy) == ("More" in refused.reason)


def test_a_month_begun_since_the_servers_last_word_is_unheard_of(make_proof: MakeProof) -> None:
    proof = make_proof(period_end=NOW + DAY)
    assert period_unheard_of(proof, NOW + DAY - TICK) is None
    assert period_unheard_of(proof, NOW + DAY) == NOW + DAY
    assert period_unheard_of(proof, NOW + 90 * DAY) == NOW + DAY


@pytest.mark.parametrize("end", [None, NOW, NOW - TICK, NOW - 30 * DAY])
def test_a_month_that_ended_before_the_servers_word_was_heard_of(
    end: datetime | None, make_proof: MakeProof
) -> None:
    proof = make_proof(period_end=end)
    for now in (NOW, NOW + DAY, NOW + 90 * DAY):
        assert period_unheard_of(proof, now) is None


def test_pages_are_reported_by_the_score_or_after_ten_minutes() -> None:
    assert (BATCH_PAGES, BATCH_WAIT) == (20, 10 * MINUTE)
    assert not is_sync_due(0, None, None, NOW)
    assert not is_sync_due(0, NOW - DAY, None, NOW)
    assert not is_sync_due(19, NOW, None, NOW)
    assert is_sync_due(20, NOW, None, NOW)
    assert not is_sync_due(1, NOW, None, NOW + BATCH_WAIT - TICK)
    assert is_sync_due(1, NOW, None, NOW + BATCH_WAIT)
    assert not is_sync_due(5, None, None, NOW)


def test_a_clock_set_back_does_not_keep_pages_from_being_reported() -> None:
    """Off by less than a batch may wait, it is a corrected clock: nothing is in a hurry."""
    assert not is_sync_due(1, NOW, None, NOW - BATCH_WAIT + TICK)
    assert is_sync_due(1, NOW, None, NOW - BATCH_WAIT)
    assert is_sync_due(1, NOW, None, NOW - 400 * DAY)
    assert is_sync_due(20, NOW, None, NOW - TICK)


def test_a_server_that_was_not_heard_is_left_alone_for_a_while() -> None:
    for waiting, oldest in ((20, NOW), (1, NOW - DAY)):
        assert not is_sync_due(waiting, oldest, NOW, NOW)
        assert not is_sync_due(waiting, oldest, NOW, NOW + SYNC_PAUSE - TICK)
        assert is_sync_due(waiting, oldest, NOW, NOW + SYNC_PAUSE)
        assert is_sync_due(waiting, oldest, NOW, NOW - SYNC_PAUSE), "a clock that was set back"


def naive_fit(counts: list[int], uses: int, cap: int | None) -> int:
    """What a server takes that adds one entry after the other, until one is too much."""
    taken = 0
    for count in counts:
        if cap is not None and uses + count > cap:
            break
        uses += count
        taken += 1
    return taken


@given(
    counts=st.lists(st.integers(1, 30), max_size=12),
    uses=st.integers(0, 150),
    cap=st.none() | st.integers(0, 150),
)
@example(counts=[1], uses=5, cap=5)
@example(counts=[1], uses=6, cap=5)
@example(counts=[5, 1], uses=0, cap=4)
@example(counts=[], uses=6, cap=5)
def test_what_fits_is_what_a_server_would_take(
    counts: list[int], uses: int, cap: int | None, make_proof: MakeProof
) -> None:
    facts = make_proof(uses=uses, max_uses=cap).facts
    fitting = fit_pages(counts, facts)
    assert fitting == naive_fit(counts, uses, cap)
    if fitting and cap is not None:
        assert uses + sum(counts[:fitting]) <= cap


def batch(pages: int, before: int) -> Batch:
    return Batch("b", pages, before, None, NOW)


def test_without_a_batch_in_doubt_all_pages_add_up() -> None:
    assert sum_usage(100, 7, 3, None) == Usage(100, 7, 3)


def test_a_batch_in_doubt_is_not_added_twice() -> None:
    """Five of the seven that wait were sent when the server had counted 100."""
    for counted, waiting in ((100, 7), (104, 7), (105, 2), (106, 2), (900, 2)):
        assert sum_usage(counted, 7, 3, batch(5, 100)) == Usage(counted, waiting, 3)


@given(
    before=st.integers(0, 50),
    sent=st.integers(1, 30),
    more=st.integers(0, 30),
    reserved=st.integers(0, 30),
    others=st.integers(0, 50),
    applied=st.booleans(),
)
def test_a_cap_is_never_charged_for_more_than_there_is(
    before: int, sent: int, more: int, reserved: int, others: int, applied: bool
) -> None:
    """And for less only by a batch that others' pages hide."""
    counted = before + others + (sent if applied else 0)
    usage = sum_usage(counted, sent + more, reserved, batch(sent, before))
    truth = before + others + sent + more + reserved
    assert usage.total <= truth
    assert usage.total >= truth - (0 if applied or others < sent else sent)
    assert usage.waiting >= more
