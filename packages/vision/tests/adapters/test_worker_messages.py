"""What goes through the pipe to the engine process comes out as it went in."""

from __future__ import annotations

import io
import json
import re
import struct
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shimmy_vision.adapters.worker.worker_command import worker_command
from shimmy_vision.adapters.worker.worker_frames import (
    Frame,
    PipeBrokenError,
    UnsayableError,
    read_frame,
    write_frame,
)
from shimmy_vision.adapters.worker.worker_messages import (
    error_fields,
    error_of,
    event_fields,
    event_of,
    job_frame,
    job_of,
    status_fields,
    status_of,
)
from shimmy_vision.cli.arguments import ArgumentParser
from shimmy_vision.cli.engine_worker import add_arguments, read_order
from shimmy_vision.domain.answer.analysis_request import (
    MODES,
    SLICE_WISHES,
    AnalysisRequest,
    AnswerLimits,
    ChatQuestion,
    ChatTurn,
    CustomQuestion,
    DocumentRequest,
    PageView,
    StandardQuestion,
)
from shimmy_vision.domain.answer.page_ranges import PageRange
from shimmy_vision.domain.model.model_family import FAMILIES
from shimmy_vision.errors import (
    DeadlineError,
    ImageError,
    ModelError,
    ShimmyError,
    error_of_kind,
    kind_of,
)
from shimmy_vision.ports.analyst import (
    DocumentJob,
    EngineStatus,
    ImageJob,
    Job,
    JobEvent,
    PageOutcome,
    Restarted,
    UrlJob,
)
from shimmy_vision.ports.cache_limits import CacheLimits
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Written
from shimmy_vision.ports.vision_order import LicenceOrder, VisionOrder
from shimmy_vision.settings import Settings, child_environment, read_settings

TEXTS = st.text(max_size=20)
NUMBERS = st.integers(0, 1 << 40)
FLOATS = st.floats(0, 1e6)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | FINITE | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(TEXTS, JSON, max_size=4)
ROLES = st.sampled_from(("system", "user", "assistant"))
SAID = st.lists(st.builds(ChatTurn, ROLES, TEXTS), max_size=3)
SEEN = st.builds(ChatTurn, ROLES, TEXTS, TEXTS)
CHATS = st.builds(
    lambda before, seen, after, schema: ChatQuestion((*before, seen, *after), schema),
    SAID, SEEN, SAID, st.none() | OBJECTS,
)  # fmt: skip
RATES = st.none() | st.floats(0, 2)
REQUESTS = st.builds(
    AnalysisRequest,
    st.sampled_from(MODES).map(StandardQuestion)
    | st.builds(CustomQuestion, st.none() | TEXTS, st.none() | OBJECTS)
    | CHATS,
    st.builds(
        AnswerLimits,
        st.none() | st.integers(1),
        st.none() | st.integers(),
        st.booleans(),
        RATES,
        RATES,
    ),
    st.booleans(),
    st.booleans(),
    st.sampled_from(SLICE_WISHES),
)
RANGES = st.builds(PageRange, NUMBERS, st.none() | NUMBERS)
PAGED = st.builds(
    DocumentRequest, REQUESTS, st.lists(RANGES, max_size=3).map(tuple), st.none() | NUMBERS
)
TOLD = st.frozensets(NUMBERS, max_size=4)
VIEWS = st.builds(PageView, NUMBERS, NUMBERS, FLOATS, st.booleans())
BODIES = st.binary(max_size=50)
JOBS = (
    st.builds(ImageJob, BODIES, REQUESTS, TEXTS)
    | st.builds(DocumentJob, BODIES, PAGED, st.none() | FLOATS, TOLD, TEXTS)
    | st.builds(UrlJob, TEXTS, PAGED, VIEWS, st.none() | FLOATS, TOLD, TEXTS)
)
STEPS = st.builds(
    Progress, st.sampled_from(["fetch", "decode", "load", "generate"]), NUMBERS, NUMBERS
)
WORDS = st.builds(Written, NUMBERS, TEXTS)
EVENTS = st.one_of(
    STEPS,
    WORDS,
    st.builds(PageProgress, NUMBERS, NUMBERS, NUMBERS, STEPS),
    st.builds(PageWritten, NUMBERS, WORDS),
    st.builds(PageOutcome, NUMBERS, OBJECTS, st.none()),
    st.just(Restarted()),
)


def _kinds(kind: type[ShimmyError] = ShimmyError) -> list[type[ShimmyError]]:
    return [kind, *(one for below in kind.__subclasses__() for one in _kinds(below))]


KINDS = [kind for kind in _kinds() if kind.__module__ == "shimmy_vision.errors"]
SHIMMY_ERRORS = st.builds(
    lambda kind, code, message, hint, retryable, after: error_of_kind(
        kind_of(kind.__new__(kind)),
        code,
        message,
        hint=hint,
        retryable=retryable,
        retry_after=after,
    ),
    st.sampled_from(KINDS),
    TEXTS,
    TEXTS,
    TEXTS,
    st.booleans(),
    st.none() | FLOATS,
)
MODELS = st.builds(
    EngineDescription,
    st.sampled_from(FAMILIES),
    st.booleans(),
    TEXTS,
    TEXTS,
    TEXTS,
    TEXTS,
    NUMBERS,
)
METRICS = st.dictionaries(TEXTS, FLOATS, max_size=4)


def through_a_pipe(*frames: Frame) -> list[Frame]:
    pipe = io.BytesIO()
    for frame in frames:
        write_frame(pipe, frame)
    pipe.seek(0)
    read = []
    while (frame_read := read_frame(pipe)) is not None:
        read.append(frame_read)
    return read


@given(st.lists(JOBS, min_size=1, max_size=3))
def test_jobs_come_through_unchanged(jobs: list[Job]) -> None:
    assert [job_of(frame) for frame in through_a_pipe(*map(job_frame, jobs))] == jobs


@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_events_come_through_unchanged_and_in_order(events: list[JobEvent]) -> None:
    frames = [Frame({"id": 3, **event_fields(event)}) for event in events]
    assert [event_of(frame.head) for frame in through_a_pipe(*frames)] == events


def spoken(error: ShimmyError) -> Any:
    words = error.code, error.message, error.hint
    return type(error), *words, error.retryable, error.retry_after


@given(SHIMMY_ERRORS, NUMBERS)
def test_errors_keep_class_code_and_words(error: ShimmyError, page: int) -> None:
    (frame,) = through_a_pipe(Frame({"error": error_fields(error)}))
    assert spoken(error_of(frame.head["error"])) == spoken(error)
    if isinstance(error, ImageError | DeadlineError):
        outcome = event_of(event_fields(PageOutcome(page, None, error)))
        assert isinstance(outcome, PageOutcome)
        assert (outcome.page, outcome.result) == (page, None)
        assert outcome.error is not None
        assert spoken(outcome.error) == spoken(error)


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_of_the_tree_comes_through(kind: type[ShimmyError]) -> None:
    error: ShimmyError = kind("a-code", "What happened", hint="do this")
    (frame,) = through_a_pipe(Frame({"error": error_fields(error)}))
    assert spoken(error_of(frame.head["error"])) == spoken(error)


def test_a_class_made_elsewhere_comes_through_as_the_nearest_of_the_tree() -> None:
    class StrangeError(ModelError):
        pass

    told = error_of(error_fields(StrangeError("a-code", "What happened")))
    assert (type(told), told.code) == (ModelError, "a-code")


NESTED: list[Any] = []
for _ in range(3000):
    NESTED = [NESTED]


@pytest.mark.parametrize("held", [float("nan"), float("inf"), object(), NESTED, {1: {(): 2}}])
def test_what_json_has_no_words_for_leaves_the_pipe_as_it_was(held: Any) -> None:
    pipe = io.BytesIO()
    with pytest.raises(UnsayableError):
        write_frame(pipe, Frame({"held": held}))
    assert pipe.getvalue() == b""


def test_what_is_nested_deeper_than_can_be_read_is_a_broken_pipe() -> None:
    head = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(PipeBrokenError):
        read_frame(io.BytesIO(struct.pack(">II", len(head), 0) + head))


def test_a_deep_schema_is_passed_on() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(90):
        schema = {"items": schema}
    job = ImageJob(b"", AnalysisRequest(CustomQuestion(None, schema)))
    (frame,) = through_a_pipe(job_frame(job))
    assert job_of(frame) == job


@given(st.builds(EngineStatus, st.booleans(), st.none() | MODELS, METRICS, METRICS))
def test_a_status_comes_through_unchanged(status: EngineStatus) -> None:
    assert status_of(json.loads(json.dumps(status_fields(status)))) == status


@given(st.binary(max_size=40))
def test_frames_cut_anywhere_are_broken(body: bytes) -> None:
    pipe = io.BytesIO()
    write_frame(pipe, Frame({"a": 1}, body))
    whole = pipe.getvalue()
    for cut in range(1, len(whole)):
        with pytest.raises(PipeBrokenError):
            read_frame(io.BytesIO(whole[:cut]))


@pytest.mark.parametrize("fields", [{}, {"page": 1}, {"restarted": False}, {"progress": ["a"]}])
def test_events_that_nobody_writes_are_broken(fields: dict[str, Any]) -> None:
    with pytest.raises(PipeBrokenError):
        event_of(fields)
    with pytest.raises(PipeBrokenError):
        job_of(Frame({"job": fields}))


ORDERS = st.builds(
    VisionOrder,
    st.none() | st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=20),
    NUMBERS,
    st.integers(-1, 99),
    NUMBERS,
    NUMBERS,
    st.builds(
        lambda tokens: AnalysisRequest(limits=AnswerLimits(tokens)), st.none() | st.integers(1)
    ),
    st.booleans(),
    st.just(LicenceOrder()),
    NUMBERS,
    st.builds(CacheLimits, NUMBERS, NUMBERS, NUMBERS),
    st.integers(1, 64),
    st.none() | FLOATS,
)


@given(ORDERS)
def test_the_child_reads_the_order_that_its_parent_was_given(order: VisionOrder) -> None:
    *program, command = worker_command(order)[:5]
    assert (program[1:], command) == (["-P", "-m", "shimmy_vision"], "engine-worker")
    parser = ArgumentParser()
    add_arguments(parser)
    assert read_order(parser.parse_args(worker_command(order)[5:])) == order


def test_a_licence_key_stands_on_no_command_line() -> None:
    order = VisionOrder(None, 0, -1, 1, 1, AnalysisRequest(), licence=LicenceOrder("KEY-9", "id-9"))
    assert not [one for one in worker_command(order) if "KEY-9" in one or "id-9" in one]


# What the child has no use for, or must not know.
NOT_PASSED_ON = {"api_keys", "callback_secret", "local_socket"}
VARIABLES = set(re.findall(r"SHIMMY_\w+", Settings.__doc__ or "")) | {"KUBERNETES_SERVICE_HOST"}


@given(st.dictionaries(st.sampled_from(sorted(VARIABLES)), st.sampled_from(["", "1", "a,b", "/x"])))
def test_the_child_finds_the_settings_that_its_parent_has(variables: dict[str, str]) -> None:
    settings = read_settings(variables)
    environment = child_environment(settings, LicenceOrder())
    assert not {"SHIMMY_API_KEYS", "SHIMMY_CALLBACK_SECRET"} & set(environment)
    told = read_settings(environment)
    for one in fields(Settings):
        if one.name not in NOT_PASSED_ON:
            assert getattr(told, one.name) == getattr(settings, one.name), one.name


def test_the_child_is_told_the_licence_of_the_order() -> None:
    settings = read_settings({"SHIMMY_LICENSE_KEY": "OTHER", "SHIMMY_MACHINE_NAME": "name"})
    told = read_settings(child_environment(settings, LicenceOrder("KEY-9", "id-9")))
    assert (told.licence_key, told.machine_id, told.machine_name) == ("KEY-9", "id-9", "name")
