"""What becomes of jobs whose process dies or does not listen: they are done again, counted once."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from engine_children import (
    BRIEF,
    FRAGILE,
    IMAGE,
    JOB,
    LONG,
    Ordered,
    at_stage,
    children,
    engine,
    ignore,
)
from fragile_worker import Gate, marked
from licence_world import Customer, Shop, Sold
from pdf_writer import text_page, write_pdf

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.worker.engine_errand import Patience
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    DocumentRequest,
    StandardQuestion,
)
from shimmy_vision.errors import DeadlineError, LibraryError, StoppedError
from shimmy_vision.ports.analyst import DocumentJob, ImageJob, JobEvent, PageOutcome, Restarted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.use_cases.sync_pages import sync_pages

# Nobody is asked before somebody stops: a process that only begins slowly answers nothing yet.
HASTY = Patience(stop=0.5, grace=0.5, silence=60.0, answer=1.5)
MakeGate = Callable[[], Gate]
THREE = write_pdf(*(text_page(f"Page {n} begins") for n in (1, 2, 3)))
PAGES = DocumentRequest(
    AnalysisRequest(StandardQuestion("ocr"), AnswerLimits(max_tokens=5)), dpi=40
)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[MakeGate]:
    """Makes gates, closed at the end."""
    with ExitStack() as opened:

        def make() -> Gate:
            made = Gate(tmp_path / f"gate-{os.urandom(4).hex()}")
            opened.callback(made.close)
            return made

        yield make


def releasing(gate: Gate) -> Callable[[JobEvent], None]:
    """Lets the job through as soon as it begins again."""

    def hear(event: JobEvent) -> None:
        if isinstance(event, Restarted):
            gate.release()

    return hear


def the_child() -> psutil.Process:
    (child,) = children()
    return child


def held(gate: Gate) -> ImageJob:
    return ImageJob(marked(IMAGE, "wait", gate), BRIEF)


def pages_of(outcomes: list[JobEvent]) -> list[int]:
    return [one.page for one in outcomes if isinstance(one, PageOutcome)]


def test_alone_its_death_is_its_own_and_the_next_is_served(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    with engine(synthetic_46, tmp_path, licence_variables) as opened:

        def die() -> None:
            the_child().send_signal(signal.SIGABRT)

        with pytest.raises(LibraryError) as crashed:
            opened.analyse(ImageJob(IMAGE, LONG), Cancellation(), at_stage("encode", die))
        assert (crashed.value.code, crashed.value.retryable) == ("engine-crashed", True)
        assert "signal 6" in crashed.value.message
        assert opened.analyse(JOB, Cancellation(), ignore)


def test_killed_from_outside_all_succeed_and_are_counted_once(
    synthetic_46: SyntheticPair, tmp_path: Path, session_shop: Shop, gate: MakeGate
) -> None:
    sold = session_shop.sell("developer")
    variables = {
        "SHIMMY_LICENSE_URL": session_shop.server.url,
        "SHIMMY_LICENSE_KEY": sold.key,
        "SHIMMY_MACHINE_ID": "crashing",
    }
    images, last_page = [gate(), gate()], gate()
    state = tmp_path / "state"
    with engine(synthetic_46, state, variables, program=FRAGILE, jobs=3) as opened:
        under_way = [Ordered().start(opened, held(one), releasing(one)) for one in images]
        document = DocumentJob(marked(THREE, "wait", last_page, page=3), PAGES)
        paged = Ordered().start(opened, document, releasing(last_page))
        for one in (*images, last_page):
            one.await_arrival()
        # The gate's word comes another way than the child's, which may take longer.
        while pages_of(paged.events) != [1, 2]:
            time.sleep(0.01)
        the_child().send_signal(signal.SIGABRT)
        for ordered in under_way:
            assert ordered.end()["meta"]["mode"] == "brief"
            assert ordered.events.count(Restarted()) == 1
        assert paged.end() is None
        assert pages_of(paged.events) == [1, 2, 3], "none twice"
        counters = opened.status().counters
        assert (counters["engine_starts"], counters["engine_crashes"]) == (2, 1)
    _check_counted(session_shop, sold, state, 5)


@pytest.mark.parametrize("paged", [False, True])
def test_a_page_that_was_counted_and_not_told_is_told_once_and_counted_once(
    synthetic_46: SyntheticPair, tmp_path: Path, session_shop: Shop, gate: MakeGate, paged: bool
) -> None:
    sold, beside = session_shop.sell("developer"), gate()
    # There is no page for a second count.
    session_shop.change(sold, maxUses=4 if paged else 2)
    variables = {
        "SHIMMY_LICENSE_URL": session_shop.server.url,
        "SHIMMY_LICENSE_KEY": sold.key,
        "SHIMMY_MACHINE_ID": "crashing",
        "FRAGILE_COUNT": str(tmp_path / "counted"),
    }
    state = tmp_path / "state"
    with engine(synthetic_46, state, variables, program=FRAGILE, jobs=2) as opened:
        neighbour = Ordered().start(opened, held(beside), releasing(beside))
        beside.await_arrival()
        job = DocumentJob(THREE, PAGES) if paged else JOB
        counted = Ordered().start(opened, job)
        result = counted.end()
        assert counted.events.count(Restarted()) == 1
        if paged:
            assert pages_of(counted.events) == [1, 2, 3]
            assert all(one.result for one in counted.events if isinstance(one, PageOutcome))
        else:
            assert result["meta"]["mode"] == "brief"
        assert neighbour.end()["meta"]["mode"] == "brief"
    _check_counted(session_shop, sold, state, 4 if paged else 2)


def _check_counted(shop: Shop, sold: Sold, state: Path, pages: int) -> None:
    with ExitStack() as opened:
        customer = Customer(shop, state, "crashing", given_key=sold.key, opened=opened)
        licensing = customer.licensing()
        sync_pages(sold.key, licensing, force=True, wait=10)
        with licensing.state.session(sold.key) as session:
            record = session.record
        assert (record.reserved, record.waiting, record.total) == (0, 0, pages)
    assert shop.uses(sold) == pages


def test_one_that_always_kills_is_blamed_and_its_neighbours_are_not(
    synthetic_46: SyntheticPair,
    tmp_path: Path,
    licence_variables: dict[str, str],
    gate: MakeGate,
) -> None:
    gates = [gate(), gate()]
    # Whose events came, in order.
    heard: list[str] = []
    with engine(
        synthetic_46, tmp_path / "state", licence_variables, program=FRAGILE, jobs=3
    ) as opened:
        late = Ordered()

        def suspect(event: JobEvent) -> None:
            # They come again one after another: the first to do so finds nobody else there.
            if isinstance(event, Restarted) and "late comes" not in heard:
                heard.append("late comes")
                late.start(opened, JOB, lambda _event: heard.append("late"))
            heard.append("suspect")

        def neighbour(gate: Gate) -> Callable[[JobEvent], None]:
            def hear(event: JobEvent) -> None:
                suspect(event)
                releasing(gate)(event)

            return hear

        innocent = [Ordered().start(opened, held(one), neighbour(one)) for one in gates]
        for one in gates:
            one.await_arrival()
        with pytest.raises(LibraryError) as crashed:
            opened.analyse(ImageJob(marked(IMAGE, "abort"), BRIEF), Cancellation(), suspect)
        assert crashed.value.code == "engine-crashed"
        assert "signal 6" in crashed.value.message
        for ordered in (*innocent, late):
            assert ordered.end()["meta"]["mode"] == "brief"
        assert "suspect" not in heard[heard.index("late") :], "who comes meanwhile waits"
        assert opened.status().counters["engine_crashes"] == 2


@pytest.mark.parametrize("reason", ["interrupted", "deadline"])
def test_a_job_that_does_not_stop_is_ended_with_its_process(
    synthetic_46: SyntheticPair,
    tmp_path: Path,
    licence_variables: dict[str, str],
    gate: MakeGate,
    reason: str,
) -> None:
    beside, hanging = gate(), gate()
    with engine(
        synthetic_46,
        tmp_path / "state",
        licence_variables,
        program=FRAGILE,
        jobs=2,
        patience=HASTY,
    ) as opened:
        neighbour = Ordered().start(opened, held(beside), releasing(beside))
        hung = Ordered().start(opened, ImageJob(marked(IMAGE, "hang", hanging), BRIEF))
        for one in (beside, hanging):
            one.await_arrival()
        before = the_child()
        hung.switch.cancel("deadline" if reason == "deadline" else "interrupted")
        with pytest.raises(StoppedError) as stopped:
            hung.end()
        assert isinstance(stopped.value, DeadlineError) == (reason == "deadline")
        assert neighbour.end()["meta"]["mode"] == "brief"
        assert the_child() != before
        counters = opened.status().counters
        assert (counters["engine_kills"], counters["engine_crashes"]) == (1, 0)


def test_a_process_that_stands_still_is_ended(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    switch = Cancellation()

    def stand_still() -> None:
        the_child().suspend()
        switch.cancel("interrupted")

    with engine(synthetic_46, tmp_path, licence_variables, patience=HASTY) as opened:
        with pytest.raises(StoppedError):
            opened.analyse(JOB, switch, at_stage("load", stand_still))
        assert not opened.running
        assert opened.analyse(JOB, Cancellation(), ignore)


def test_who_gives_up_while_the_model_loads_does_not_end_the_loading(
    synthetic_46: SyntheticPair,
    tmp_path: Path,
    licence_variables: dict[str, str],
    gate: MakeGate,
) -> None:
    loading = gate()
    variables = {**licence_variables, "FRAGILE_LOAD": str(loading.folder)}
    with engine(
        synthetic_46, tmp_path / "state", variables, program=FRAGILE, jobs=2, patience=HASTY
    ) as opened:
        impatient = Ordered().start(opened, JOB)
        loading.await_arrival()
        before = the_child()
        impatient.switch.cancel("interrupted")
        with pytest.raises(StoppedError):
            impatient.end()
        assert the_child() == before
        patient = Ordered().start(opened, JOB)
        loading.release()
        assert patient.end()["meta"]["mode"] == "brief"
        assert the_child() == before


def test_a_page_that_ignores_its_deadline_costs_that_page_only(
    synthetic_46: SyntheticPair,
    tmp_path: Path,
    licence_variables: dict[str, str],
) -> None:
    with engine(
        synthetic_46, tmp_path, licence_variables, program=FRAGILE, patience=HASTY
    ) as opened:
        # Its process begins outside the first page's time.
        assert opened.analyse(JOB, Cancellation(), ignore)
        events: list[JobEvent] = []
        job = DocumentJob(marked(THREE, "hang", page=2), PAGES, page_seconds=8.0)
        assert opened.analyse(job, Cancellation(), events.append) is None
        outcomes = [one for one in events if isinstance(one, PageOutcome)]
        assert [(one.page, type(one.error)) for one in outcomes] == [
            (1, type(None)),
            (2, DeadlineError),
            (3, type(None)),
        ]
        assert opened.status().counters["engine_kills"] == 1


def test_a_document_is_no_suspect_any_more_once_its_next_page_is_done(
    synthetic_46: SyntheticPair,
    tmp_path: Path,
    licence_variables: dict[str, str],
    gate: MakeGate,
) -> None:
    beside, second = gate(), gate()
    with engine(
        synthetic_46, tmp_path / "state", licence_variables, program=FRAGILE, jobs=2
    ) as opened:
        # It makes the document a suspect, and is none itself: while there is another, who must
        # wait for the document's end as the newcomer for his, the document may not wait for both.
        other = Ordered().start(opened, held(beside))
        document = DocumentJob(marked(THREE, "wait", second, page=2), PAGES)
        paged = Ordered()

        def hear(event: JobEvent) -> None:
            if isinstance(event, Restarted):
                second.release()
            if isinstance(event, PageOutcome) and event.page == 2:
                # With its second page over, others may come while the rest is done.
                newcomers.append(opened.analyse(JOB, Cancellation(), ignore))

        newcomers: list[object] = []
        paged.start(opened, document, hear)
        for one in (beside, second):
            one.await_arrival()
        other.switch.cancel("interrupted")
        the_child().kill()
        with pytest.raises(StoppedError):
            other.end()
        assert paged.end() is None
        assert pages_of(paged.events) == [1, 2, 3]
        assert len(newcomers) == 1
