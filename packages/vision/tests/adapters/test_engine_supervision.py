"""What the web process makes of an engine process that is slow, silent or dead: scripted ones."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from engine_children import Ordered, ignore
from scripted_worker import SCRIPTED, scripted, scripted_pages
from threads import until

from shimmy_vision.adapters.worker.engine_errand import Patience
from shimmy_vision.adapters.worker.engine_process import EngineProcess
from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, CustomQuestion
from shimmy_vision.errors import (
    LibraryError,
    SchemaError,
    ShimmyError,
    StoppedError,
)
from shimmy_vision.ports.analyst import ImageJob, Job, JobEvent, PageOutcome, Restarted
from shimmy_vision.ports.cancellation import Cancellation

ANSWER = scripted("answer")
HASTY = Patience(stop=0.2, grace=60.0, silence=60.0, answer=5.0)


@contextmanager
def opened(**wishes: Any) -> Iterator[EngineProcess]:
    # What hangs at the end need not be waited for.
    usual = {"patience": HASTY, "jobs": 2, "farewell_seconds": 0.2}
    with closing(EngineProcess(SCRIPTED, **{**usual, **wishes})) as process:
        yield process


def result_of(process: EngineProcess, job: Job = ANSWER) -> dict[str, Any]:
    result = process.analyse(job, Cancellation(), ignore)
    assert result is not None
    return result


def under_way(process: EngineProcess, job: Job) -> Ordered:
    """Once it told its first stage."""
    begun = threading.Event()
    ordered = Ordered().start(process, job, lambda _event: begun.set())
    assert begun.wait(30)
    return ordered


def counters(process: EngineProcess) -> dict[str, float]:
    return dict(process.status().counters)


def _kinds(kind: type[ShimmyError]) -> list[type[ShimmyError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in _kinds(below))]


def test_every_kind_of_failure_is_told_as_what_it_is() -> None:
    with opened() as process:
        for kind in _kinds(ShimmyError):
            if kind.__module__ != "shimmy_vision.errors":
                continue
            with pytest.raises(kind) as raised:
                result_of(process, scripted("raise", kind=kind.__name__))
            assert (type(raised.value), raised.value.code) == (kind, "a-code")
        assert counters(process)["engine_starts"] == 1


@pytest.mark.parametrize("what", ["nan", "object", "nested", "message"])
def test_what_cannot_be_told_is_a_failure_and_never_silence(what: str) -> None:
    with opened() as process:
        ordered = Ordered().start(process, scripted("unsayable", what=what))
        with pytest.raises(LibraryError) as failed:
            ordered.end()
        assert failed.value.code == "engine-failed"
        assert result_of(process)["process"]
        assert counters(process)["engine_starts"] == 1


def _nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize("held", [_nested(5000), float("nan"), object()])
def test_a_job_that_cannot_be_passed_on_is_refused(held: Any) -> None:
    schema: dict[str, Any] = {}
    job = ImageJob(ANSWER.data, AnalysisRequest(CustomQuestion(None, schema)))
    # Deeper than a request may be made.
    schema["const"] = held
    with opened() as process:
        with pytest.raises(SchemaError) as refused:
            result_of(process, job)
        assert refused.value.code == "schema-invalid"
        assert result_of(process)["process"]


@pytest.mark.parametrize("stage", [None, "fetch", "decode", "measure", "load", "generate"])
def test_a_stop_that_is_not_heeded_releases_its_caller_alone(stage: str | None) -> None:
    with opened() as process:
        neighbour = under_way(process, scripted("sleep", stage="decode", seconds=0.8))
        before = result_of(process)["process"]
        stuck = Ordered().start(process, scripted("hang", **({"stage": stage} if stage else {})))
        while stage and not stuck.events:
            time.sleep(0.01)
        stuck.switch.cancel("interrupted")
        with pytest.raises(StoppedError):
            stuck.end()
        assert neighbour.end()["process"] == before, "who stands beside is not begun anew"
        assert Restarted() not in neighbour.events
        # Both places are there, although the job goes on.
        both = [under_way(process, scripted("sleep", stage="decode", seconds=0.2)) for _ in "12"]
        assert {one.end()["process"] for one in both} == {before}
        assert counters(process)["engine_kills"] == 0


def test_one_that_does_not_end_within_grace_is_ended_with_its_process(tmp_path: Path) -> None:
    patience = Patience(stop=0.2, grace=1.0, silence=60.0, answer=5.0)
    with opened(patience=patience) as process:
        stuck = under_way(process, scripted("hang", stage="decode"))
        # Begun before anybody counts the grace: in the next process it would never end.
        once = scripted("hang", stage="decode", once=str(tmp_path / "once"))
        neighbour = under_way(process, once)
        stuck.switch.cancel("interrupted")
        with pytest.raises(StoppedError):
            stuck.end()
        assert neighbour.end()["process"]
        assert neighbour.events.count(Restarted()) == 1
        assert (counters(process)["engine_kills"], counters(process)["engine_crashes"]) == (1, 0)


def test_one_that_waits_for_the_model_may_take_longer_than_that() -> None:
    patience = Patience(stop=0.1, grace=0.2, silence=60.0, answer=5.0)
    with opened(patience=patience) as process:
        before = result_of(process)["process"]
        loading = under_way(process, scripted("sleep", stage="load", seconds=30.0))
        loading.switch.cancel("interrupted")
        with pytest.raises(StoppedError):
            loading.end()
        # By then it would have been ended three times over.
        time.sleep(0.9)
        assert result_of(process)["process"] == before


def test_only_so_many_go_on_for_nobody() -> None:
    with opened(jobs=1) as process:
        before = result_of(process)["process"]
        for kills in (0, 0, 1):
            stuck = under_way(process, scripted("hang", stage="load"))
            stuck.switch.cancel("interrupted")
            with pytest.raises(StoppedError):
                stuck.end()
            assert counters(process)["engine_kills"] == kills
        assert result_of(process)["process"] != before


@pytest.mark.parametrize("company", [False, True])
def test_one_that_stands_still_is_noticed_although_nobody_stops(
    tmp_path: Path, company: bool
) -> None:
    patience = Patience(stop=0.2, grace=60.0, silence=0.5, answer=1.5)
    with opened(patience=patience) as process:
        innocent: Ordered | None = None
        if company:
            once = scripted("hang", stage="decode", once=str(tmp_path / "once"))
            innocent = under_way(process, once)
        began = time.monotonic()
        with pytest.raises(LibraryError) as blamed:
            result_of(process, scripted("stand-still", stage="decode"))
        # Some seconds on an idle machine; nobody else would end it.
        assert (blamed.value.code, time.monotonic() - began < 50) == ("engine-crashed", True)
        assert "did not answer" in blamed.value.message
        if innocent is not None:
            assert innocent.end()["process"]
        assert result_of(process)["process"]
        assert (counters(process)["engine_kills"], counters(process)["engine_crashes"]) == (
            2 if company else 1,
            0,
        )


def test_one_that_is_slow_and_answers_is_left_alone() -> None:
    patience = Patience(stop=0.2, grace=0.2, silence=0.2, answer=5.0)
    with opened(patience=patience) as process:
        slow = under_way(process, scripted("sleep", stage="decode", seconds=1.0))
        assert slow.end()["process"] == result_of(process)["process"]
        assert counters(process)["engine_kills"] == 0


def test_a_page_that_ignores_its_time_costs_that_page_only(tmp_path: Path) -> None:
    patience = Patience(stop=0.2, grace=0.3, silence=60.0, answer=5.0)
    with opened(patience=patience) as process:
        # Page 2 has begun for those who look at the clock once the first is over.
        job = scripted_pages("hang", 1.0, at=2, once=str(tmp_path / "once"))
        seen: list[JobEvent] = []
        assert process.analyse(job, Cancellation(), seen.append) is None
        outcomes = [one for one in seen if isinstance(one, PageOutcome)]
        assert sorted({one.page for one in outcomes}) == [1, 2, 3]
        assert counters(process)["engine_kills"] == 1


def test_jobs_that_kill_their_process_give_nobody_else_rest() -> None:
    with opened(rest_seconds=0.0) as process:
        for _ in range(4):
            with pytest.raises(LibraryError) as crashed:
                result_of(process, scripted("abort"))
            assert crashed.value.code == "engine-crashed"
            assert result_of(process)["process"]
        assert counters(process)["engine_crashes"] == 4


def _start_twice(tmp_path: Path) -> tuple[str, ...]:
    """Dies at its first two starts."""
    program = (
        f"import sys, pathlib, runpy; p = pathlib.Path({str(tmp_path)!r}, 'starts');"
        "n = len(p.read_bytes()) if p.exists() else 0; p.write_bytes(b'x' * (n + 1));"
        "n < 2 and sys.exit(3);"
        f"runpy.run_path({SCRIPTED[1]!r}, run_name='__main__')"
    )
    return (sys.executable, "-c", program)


def test_a_short_rest_is_waited_for(tmp_path: Path) -> None:
    with closing(EngineProcess(_start_twice(tmp_path))) as process:
        for _ in range(2):
            with pytest.raises(LibraryError):
                result_of(process)
        assert result_of(process)["process"]


def test_a_long_rest_says_its_seconds_and_a_stop_ends_the_waiting(tmp_path: Path) -> None:
    now = [100.0]
    with closing(
        EngineProcess(_start_twice(tmp_path), rest_seconds=0.4, clock=lambda: now[0])
    ) as process:
        for _ in range(2):
            with pytest.raises(LibraryError):
                result_of(process)
        with pytest.raises(LibraryError) as resting:
            result_of(process)
        assert (resting.value.code, resting.value.retry_after) == ("engine-resting", 0.5)
        assert "1 s" in resting.value.message
        now[0] += 0.2
        waiting = Ordered().start(process, ANSWER)
        waiting.switch.cancel("interrupted")
        with pytest.raises(StoppedError):
            waiting.end()


def test_counters_never_go_back() -> None:
    patience = Patience(stop=0.2, grace=1.0, silence=60.0, answer=5.0)
    seen: list[dict[str, float]] = []
    done = threading.Event()
    with opened(patience=patience) as process:

        def watch() -> None:
            while not done.is_set():
                seen.append(counters(process))
                time.sleep(0.002)

        watcher = threading.Thread(target=watch)
        watcher.start()
        for kills in (1, 2):
            result_of(process)
            stuck = [under_way(process, scripted("hang", stage="decode")) for _ in "12"]
            for one in stuck:
                one.switch.cancel("interrupted")
            for one in stuck:
                with pytest.raises(StoppedError):
                    one.end()
            until(lambda kills=kills: counters(process)["engine_kills"] == kills)  # type: ignore[misc]
            # Time for the other one's end, which comes to nothing.
            time.sleep(0.2)
        done.set()
        watcher.join()
        assert counters(process)["engine_kills"] == 2, "each but once"
    for before, after in pairwise(seen):
        assert all(after.get(name, 0.0) >= value for name, value in before.items())


def test_a_document_whose_pages_are_all_told_is_done_whatever_dies_then() -> None:
    with opened() as process:
        seen: list[JobEvent] = []
        assert process.analyse(scripted_pages("abort", at=4), Cancellation(), seen.append) is None
        assert [one.page for one in seen if isinstance(one, PageOutcome)] == [1, 2, 3]
        with pytest.raises(LibraryError):
            process.analyse(scripted_pages("abort", at=3), Cancellation(), ignore)


def test_a_job_keeps_its_key_however_often_it_is_begun(tmp_path: Path) -> None:
    with opened() as process:
        keys = {result_of(process)["key"] for _ in "12"}
        once = scripted("abort", stage="decode", once=str(tmp_path / "once"))
        beside = under_way(process, scripted("hang", stage="decode", once=str(tmp_path / "beside")))
        again = under_way(process, once)
        told = [one.end() for one in (beside, again)]
        assert beside.events.count(Restarted()) == again.events.count(Restarted()) == 1
        keys |= {one["key"] for one in told}
        assert (len(keys), all(keys)) == (4, True)
