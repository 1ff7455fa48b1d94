"""Analyses in a process that may die: the real program, the real library, synthetic weights."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from pdf_writer import text_page, write_pdf
from threads import until

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.worker.engine_process import EngineProcess
from shimmy_vision.adapters.worker.worker_frames import write_frame
from shimmy_vision.adapters.worker.worker_messages import job_frame
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    DocumentRequest,
    Mode,
    PageView,
    StandardQuestion,
)
from shimmy_vision.domain.answer.page_ranges import parse_pages
from shimmy_vision.errors import (
    DeadlineError,
    ImageError,
    LibraryError,
    LicenceError,
    StoppedError,
    UsageError,
)
from shimmy_vision.ports.analyst import DocumentJob, ImageJob, JobEvent, PageOutcome, UrlJob
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Written
from shimmy_vision.ports.vision_order import LicenceOrder, VisionOrder
from shimmy_vision.settings import read_settings
from shimmy_vision.wiring.serving import open_analyst

SHORT = AnalysisRequest(StandardQuestion("ocr"), AnswerLimits(max_tokens=5))
THREE = write_pdf(*(text_page(f"Page {n} begins") for n in (1, 2, 3)))
DYING = (sys.executable, "-c", "raise SystemExit(3)")


def test_it_answers_reports_and_refuses_as_in_this_process(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    seen: list[JobEvent] = []
    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        assert not opened.running
        result = opened.analyse(JOB, Cancellation(), seen.append)
        assert result is not None
        assert result["meta"]["model"]["synthetic"] is True
        stages = {one.stage for one in seen if isinstance(one, Progress)}
        assert stages >= {"decode", "load", "encode", "prompt"}
        assert [one for one in seen if isinstance(one, Written)]
        with pytest.raises(ImageError) as refused:
            opened.analyse(ImageJob(b"no image", BRIEF), Cancellation(), ignore)
        assert (refused.value.code, opened.running) == ("image-unsupported", True)
        (child,) = children()
        again = opened.analyse(JOB, Cancellation(), ignore)
        assert again is not None
        assert {**again, "meta": 0} == {**result, "meta": 0}
        assert [child] == children(), "one process for all"
    assert children() == []


def test_no_licence_no_analysis_and_no_preparation(
    synthetic_46: SyntheticPair, tmp_path: Path
) -> None:
    with engine(synthetic_46, tmp_path, {}) as opened:
        with pytest.raises(LicenceError) as refused:
            opened.analyse(JOB, Cancellation(), ignore)
        with pytest.raises(LicenceError) as unprepared:
            opened.prepare(Cancellation())
        assert opened.status().model is None
    assert refused.value.code == unprepared.value.code == "licence-missing"


def test_prepared_it_has_the_model_in_memory_and_counts_no_page(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        idle = opened.status()
        assert (idle.running, idle.model, idle.counters["engine_starts"]) == (False, None, 0)
        opened.prepare(Cancellation())
        # It has half a second to say how it is, which a busy machine may not give it at once.
        until(lambda: opened.status().model is not None)
        ready = opened.status()
        assert ready.model is not None
        assert (ready.running, ready.model.family, ready.model.synthetic) == (True, "4.6", True)
        assert ready.counters["engine_starts"] == ready.counters["engine_loads"] == 1
        assert ready.counters["encoded_slices"] > 0
        opened.analyse(JOB, Cancellation(), ignore)
        assert opened.status().counters["engine_loads"] == 1
        for one in children():
            one.kill()
        until(lambda: not opened.status().running)
        opened.prepare(Cancellation())
        until(lambda: opened.status().counters["engine_loads"] > 1)
        after = opened.status()
        assert (after.counters["engine_starts"], after.counters["engine_crashes"]) == (2, 1)
        assert after.counters["engine_loads"] == 2, "counters go on where the last child's ended"


def test_the_listener_of_wiring_s_analyst_gets_everything(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    variables = {
        **{name: value for name, value in licence_variables.items() if "KEY" not in name},
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_STATE_DIR": str(tmp_path),
    }
    key = licence_variables["SHIMMY_LICENSE_KEY"]
    order = VisionOrder(
        str(synthetic_46.main.parent), 1, 0, 50_000_000, 9_000, BRIEF,
        licence=LicenceOrder(key),
    )  # fmt: skip
    with open_analyst(read_settings(variables), order, 2) as opened:
        result = opened.analyse(JOB, Cancellation(), ignore)
        assert result is not None
        assert result["meta"]["licence"] == "enterprise"
        (child,) = children()
        assert key not in " ".join(child.cmdline())
        large = ImageJob(IMAGE, replace(BRIEF, cache=False))
        with pytest.raises(UsageError) as refused:
            # Asked for here, refused there.
            opened.analyse(
                UrlJob("https://a.example", DocumentRequest(SHORT), PageView(width=1)),
                Cancellation(),
                ignore,
            )
        assert refused.value.code == "viewport-refused"
        assert opened.analyse(large, Cancellation(), ignore)


def test_several_at_once_each_get_their_own(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    gates = [Gate(tmp_path / f"gate-{n}") for n in range(4)]
    modes: tuple[Mode, ...] = ("brief", "ocr", "layout", "full")
    with engine(
        synthetic_46, tmp_path, licence_variables, "--parallel", "2", program=FRAGILE, jobs=4
    ) as opened:
        under_way = []
        for mode, gate in zip(modes, gates, strict=True):
            request = AnalysisRequest(StandardQuestion(mode), AnswerLimits(40), raw=True)
            job = ImageJob(marked(IMAGE, "wait", gate), request)
            under_way.append(Ordered().start(opened, job))
        for gate in gates:
            gate.await_arrival()
        fifth = Ordered().start(opened, JOB)
        assert opened.status().running, "told while all are busy"
        for gate in gates:
            gate.release()
        results = [one.end() for one in under_way]
        assert fifth.end()["meta"]["mode"] == "brief"
        assert [one["meta"]["mode"] for one in results] == list(modes)
        assert len(children()) == 1
        for ordered, result in zip(under_way, results, strict=True):
            written = [one for one in ordered.events if isinstance(one, Written)]
            for number, raw in enumerate(result["meta"]["raw"]):
                told = "".join(one.text for one in written if one.answer == number)
                assert told.startswith(raw[: len(told) // 2]) and told, (
                    "each hears its own answers only"
                )
    for gate in gates:
        gate.close()


@pytest.mark.parametrize(
    ("reason", "kind"), [("interrupted", StoppedError), ("deadline", DeadlineError)]
)
def test_one_is_stopped_at_once_and_its_neighbours_go_on(
    synthetic_46: SyntheticPair,
    tmp_path: Path,
    licence_variables: dict[str, str],
    reason: Any,
    kind: type[Exception],
) -> None:
    gate = Gate(tmp_path / "gate")
    with engine(synthetic_46, tmp_path, licence_variables, program=FRAGILE, jobs=2) as opened:
        neighbour = Ordered().start(opened, ImageJob(marked(IMAGE, "wait", gate), BRIEF))
        gate.await_arrival()
        before = children()
        switch, thrown = Cancellation(), []

        def throw() -> None:
            thrown.append(time.monotonic())
            switch.cancel(reason)

        with pytest.raises(kind) as stopped:
            opened.analyse(ImageJob(IMAGE, LONG), switch, at_stage("generate", throw))
        assert type(stopped.value) is kind
        # It would write for a minute; and it is stopped and not ended with its process, see below.
        assert time.monotonic() - thrown[0] < 15
        gate.release()
        assert neighbour.end()["meta"]["mode"] == "brief"
        assert children() == before
    gate.close()


def test_who_is_stopped_while_waiting_for_a_place_does_not_wait(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    gate = Gate(tmp_path / "gate")
    with engine(synthetic_46, tmp_path, licence_variables, program=FRAGILE) as opened:
        first = Ordered().start(opened, ImageJob(marked(IMAGE, "wait", gate), BRIEF))
        gate.await_arrival()
        second = Ordered().start(opened, JOB)
        second.switch.cancel("interrupted")
        with pytest.raises(StoppedError):
            second.end()
        assert second.events == []
        gate.release()
        assert first.end()["meta"]
    gate.close()


def test_a_listener_that_fails_spoils_no_later_answer(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    heard: list[JobEvent] = []

    def fail(event: JobEvent) -> None:
        heard.append(event)
        raise ValueError(str(event))

    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        with pytest.raises(ValueError, match="decode"):
            opened.analyse(ImageJob(IMAGE, LONG), Cancellation(), fail)
        assert len(heard) == 1, "and is told nothing more"
        again = opened.analyse(JOB, Cancellation(), ignore)
        assert again is not None
        assert again["meta"]["mode"] == "brief"


def test_a_document_comes_page_by_page(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    events: list[JobEvent] = []
    request = DocumentRequest(SHORT, parse_pages("3,1-2"), 40)
    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        job = DocumentJob(THREE, request, page_seconds=60.0)
        assert opened.analyse(job, Cancellation(), events.append) is None
        outcomes = [one for one in events if isinstance(one, PageOutcome)]
        assert [one.page for one in outcomes] == [3, 1, 2]
        for one in outcomes:
            assert one.result is not None
            assert one.result["text_blocks"][0]["text"] == f"Page {one.page} begins"
        for page, inside in ((3, 0), (1, 1), (2, 2)):
            end = events.index(outcomes[inside])
            told = [one for one in events[:end] if isinstance(one, PageProgress | PageWritten)]
            assert told[-1].page == page, "nothing of a page comes after its outcome"
        events.clear()
        rest = replace(job, told=frozenset({3, 1}))
        assert opened.analyse(rest, Cancellation(), events.append) is None
        assert [one.page for one in events if isinstance(one, PageOutcome)] == [2]
        assert {(one.done, one.total) for one in events if isinstance(one, PageProgress)} == {
            (2, 3)
        }
        with pytest.raises(UsageError) as refused:
            beyond = DocumentRequest(SHORT, parse_pages("7"))
            opened.analyse(DocumentJob(THREE, beyond), Cancellation(), ignore)
        assert refused.value.code == "page-out-of-range"


def test_pages_have_deadlines_of_their_own_and_the_job_has_its_own(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    events: list[JobEvent] = []
    request = DocumentRequest(LONG, parse_pages("1-2"), 400)
    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        opened.prepare(Cancellation())
        job = DocumentJob(THREE, request, page_seconds=0.1)
        assert opened.analyse(job, Cancellation(), events.append) is None
        outcomes = [one for one in events if isinstance(one, PageOutcome)]
        assert [type(one.error) for one in outcomes] == [DeadlineError, DeadlineError]
        switch, told = Cancellation(), []

        def stop(event: JobEvent) -> None:
            told.append(event)
            if isinstance(event, PageProgress):
                switch.cancel("deadline")

        with pytest.raises(DeadlineError):
            opened.analyse(DocumentJob(THREE, request), switch, stop)
        assert len([one for one in told if isinstance(one, PageOutcome)]) < 2


def test_closed_while_busy_nothing_hangs(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    writing = threading.Event()
    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        busy = Ordered().start(opened, ImageJob(IMAGE, LONG), at_stage("generate", writing.set))
        waiting = Ordered().start(opened, JOB)
        assert writing.wait(60)
        opened.close()
        assert children() == []
        for one in (busy, waiting):
            with pytest.raises(LibraryError) as closed:
                one.end()
            assert closed.value.code == "engine-closed"
        assert not opened.status().running
        opened.close()


def test_a_child_that_nobody_listens_to_any_more_ends_although_a_job_does_not(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    gate = Gate(tmp_path / "gate")
    program = (*FRAGILE, "engine-worker", "--model", str(synthetic_46.main.parent))
    variables = {**licence_variables, "SHIMMY_STATE_DIR": str(tmp_path)}
    with subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=variables
    ) as child:
        assert child.stdin is not None
        frame = job_frame(ImageJob(marked(IMAGE, "hang", gate), BRIEF))
        write_frame(child.stdin, frame._replace(head={**frame.head, "id": 0}))
        gate.await_arrival()
        child.stdin.close()
        assert child.wait(60) == 1
    gate.close()


def test_a_child_that_keeps_dying_is_given_rest() -> None:
    now = [100.0]
    opened = EngineProcess(DYING, rest_seconds=0.0, clock=lambda: now[0])

    def code() -> str:
        with pytest.raises(LibraryError) as refused:
            opened.analyse(JOB, Cancellation(), ignore)
        return refused.value.code

    assert [code(), code()] == ["engine-crashed", "engine-crashed"]
    assert code() == "engine-resting"
    now[0] += 0.6
    assert [code(), code()] == ["engine-crashed", "engine-resting"]
    now[0] += 0.6
    assert code() == "engine-resting", "longer each time"
    now[0] += 31
    assert code() == "engine-crashed"
    opened.close()
    assert code() == "engine-closed"


def test_a_program_that_cannot_be_started_says_so() -> None:
    opened = EngineProcess(("/nowhere/at/all",))
    with pytest.raises(LibraryError) as refused:
        opened.analyse(JOB, Cancellation(), ignore)
    assert refused.value.code == "engine-not-started"


@pytest.mark.parametrize(
    "told",
    [
        b"noise and more of it",
        b"\xff" * 8,
        b"\0\0\0\1\0\0\0\0x",
        b"\0\0\0\2\0\0\0\0[]",
        b"\0\0\0\2\0\0\0\0{}",
    ],
)
def test_noise_in_the_pipe_is_a_broken_pipe(told: bytes) -> None:
    noise = f"import sys; sys.stdout.buffer.write({told!r}); sys.stdout.flush(); sys.stdin.read()"
    opened = EngineProcess((sys.executable, "-c", noise))
    with pytest.raises(LibraryError) as refused:
        opened.analyse(JOB, Cancellation(), ignore)
    assert refused.value.code == "engine-crashed"
    opened.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_to_the_whole_group_are_the_parent_s_business(
    synthetic_46: SyntheticPair,
    tmp_path: Path,
    licence_variables: dict[str, str],
    number: signal.Signals,
) -> None:
    with engine(synthetic_46, tmp_path, licence_variables) as opened:

        def press() -> None:
            for one in children():
                one.send_signal(number)

        assert opened.analyse(JOB, Cancellation(), at_stage("prompt", press))
