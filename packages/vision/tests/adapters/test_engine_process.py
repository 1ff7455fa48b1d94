"""Analyses in a process that may die: the real program, the real library, synthetic weights."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine_process import EngineProcess
from shimmy_vision.adapters.worker_frames import (
    Frame,
    PipeBrokenError,
    error_fields,
    error_of,
    read_frame,
    request_fields,
    request_of,
    write_frame,
)
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    AnalysisRequest,
    AnswerLimits,
    CustomQuestion,
    StandardQuestion,
)
from shimmy_vision.errors import (
    DeadlineError,
    ImageError,
    LibraryError,
    LicenceError,
    LicenceServerError,
    StoppedError,
)
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import Progress, ignore_progress

IMAGE = (Path(__file__).resolve().parents[4] / "docs/samples/sign-in.png").read_bytes()
BRIEF = AnalysisRequest(StandardQuestion("brief"), AnswerLimits(max_tokens=24))
LONG = AnalysisRequest(StandardQuestion("full"), AnswerLimits(max_tokens=4000))


@contextmanager
def engine(
    pair: SyntheticPair, tmp_path: Path, variables: dict[str, str], *options: str
) -> Iterator[EngineProcess]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SHIMMY_")}
    environment = {
        **kept,
        **variables,
        "SHIMMY_ALLOW_SYNTHETIC": "1",
        "SHIMMY_STATE_DIR": str(tmp_path / "state"),
    }
    command = (sys.executable, "-m", "shimmy_vision", "engine-worker")
    place = ("--model", str(pair.main.parent), "--threads", "1", *options)
    opened = EngineProcess((*command, *place), environment)
    try:
        yield opened
    finally:
        opened.close()


def children() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    living = [one for one in found if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in living if "engine-worker" in " ".join(one.cmdline())]


def test_it_answers_reports_and_refuses_as_in_this_process(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    seen: list[Progress] = []
    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        assert not opened.running
        result = opened.analyse(IMAGE, BRIEF, Cancellation(), seen.append)
        assert result["meta"]["model"]["synthetic"] is True
        assert {one.stage for one in seen} >= {"decode", "load", "encode", "prompt"}
        with pytest.raises(ImageError) as refused:
            opened.analyse(b"no image", BRIEF, Cancellation(), ignore_progress)
        assert (refused.value.code, opened.running) == ("image-unsupported", True)
        (child,) = children()
        again = opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress)
        assert {**again, "meta": 0} == {**result, "meta": 0}
        assert [child] == children(), "one process for all"
    assert children() == []


def test_no_licence_no_analysis(synthetic_46: SyntheticPair, tmp_path: Path) -> None:
    with (
        engine(synthetic_46, tmp_path, {}) as opened,
        pytest.raises(LicenceError) as refused,
    ):
        opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress)
    assert refused.value.code == "licence-missing"


def test_a_death_is_an_error_and_the_next_request_is_served(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    with engine(synthetic_46, tmp_path, licence_variables) as opened:

        def die(progress: Progress) -> None:
            if progress.stage == "generate":
                for one in children():
                    one.send_signal(signal.SIGABRT)

        with pytest.raises(LibraryError) as crashed:
            opened.analyse(IMAGE, LONG, Cancellation(), die)
        assert (crashed.value.code, crashed.value.retryable) == ("engine-crashed", True)
        assert "signal 6" in crashed.value.message
        assert opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress)["meta"]


def test_a_listener_that_fails_spoils_no_later_answer(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    def fail(progress: Progress) -> None:
        raise ValueError(progress.stage)

    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        with pytest.raises(ValueError, match="decode"):
            opened.analyse(IMAGE, BRIEF, Cancellation(), fail)
        again = opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress)
        assert again["meta"]["mode"] == "brief"


@pytest.mark.parametrize(
    ("reason", "kind"), [("interrupted", StoppedError), ("deadline", DeadlineError)]
)
def test_it_stops_at_once_and_goes_on_with_the_next(
    synthetic_46: SyntheticPair,
    tmp_path: Path,
    licence_variables: dict[str, str],
    reason: Any,
    kind: type[Exception],
) -> None:
    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress)
        switch = Cancellation()
        thrown: list[float] = []

        def throw(progress: Progress) -> None:
            if progress.stage == "generate" and not thrown:
                thrown.append(time.monotonic())
                switch.cancel(reason)

        with pytest.raises(kind) as stopped:
            opened.analyse(IMAGE, LONG, switch, throw)
        assert type(stopped.value) is kind
        assert time.monotonic() - thrown[0] < 2
        assert opened.running
        assert opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress)["meta"]


def test_several_callers_take_turns(
    synthetic_46: SyntheticPair, tmp_path: Path, licence_variables: dict[str, str]
) -> None:
    with engine(synthetic_46, tmp_path, licence_variables) as opened:
        results: list[Any] = []

        def ask() -> None:
            results.append(opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert len(results) == 4
        assert len(children()) == 1


def test_a_child_that_keeps_dying_is_given_rest(tmp_path: Path) -> None:
    now = [100.0]
    opened = EngineProcess((sys.executable, "-c", "raise SystemExit(3)"), clock=lambda: now[0])

    def code() -> str:
        with pytest.raises(LibraryError) as refused:
            opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress)
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
        opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress)
    assert refused.value.code == "engine-not-started"


@pytest.mark.parametrize(
    "told",
    [b"noise", b"\xff" * 8, b"\0\0\0\1\0\0\0\0x", b"\0\0\0\2\0\0\0\0[]", b"\0\0\0\2\0\0\0\0{}"],
)
def test_noise_in_the_pipe_is_a_broken_pipe(told: bytes) -> None:
    noise = f"import sys; sys.stdout.buffer.write({told!r}); sys.stdout.flush()"
    opened = EngineProcess((sys.executable, "-c", noise))
    with pytest.raises(LibraryError) as refused:
        opened.analyse(IMAGE, BRIEF, Cancellation(), ignore_progress)
    assert refused.value.code == "engine-crashed"
    opened.close()


TEXTS = st.text(max_size=20)
REQUESTS = st.builds(
    AnalysisRequest,
    st.sampled_from(MODES).map(StandardQuestion)
    | st.builds(CustomQuestion, st.none() | TEXTS, st.none() | st.dictionaries(TEXTS, TEXTS)),
    st.builds(AnswerLimits, st.none() | st.integers(1), st.none() | st.integers(), st.booleans()),
    st.booleans(),
)


@given(REQUESTS, st.binary(max_size=100))
def test_requests_come_through_unchanged(request: AnalysisRequest, body: bytes) -> None:
    pipe = io.BytesIO()
    write_frame(pipe, Frame({"request": request_fields(request)}, body))
    pipe.seek(0)
    frame = read_frame(pipe)
    assert frame is not None
    assert (request_of(frame.head["request"]), frame.body) == (request, body)
    assert read_frame(pipe) is None


@given(st.binary(max_size=40))
def test_frames_cut_anywhere_are_broken(body: bytes) -> None:
    pipe = io.BytesIO()
    write_frame(pipe, Frame({"a": 1}, body))
    whole = pipe.getvalue()
    for cut in range(1, len(whole)):
        with pytest.raises(PipeBrokenError):
            read_frame(io.BytesIO(whole[:cut]))


def test_errors_keep_class_code_and_words() -> None:
    server = LicenceServerError("a-code", "no answer", hint="wait", retry_after=3.0)
    for error in (ImageError("image-empty", "empty", hint="look"), server):
        told = error_of(error_fields(error))
        assert type(told) is type(error)
        assert (told.code, told.message, told.hint, told.retryable) == (
            (error.code, error.message, error.hint, error.retryable)
        )
