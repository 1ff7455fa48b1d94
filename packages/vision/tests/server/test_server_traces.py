"""Traces, where the operator asks for them: a request, its intake, the stages of its analysis."""

from __future__ import annotations

import base64
import logging
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pdf_writer import text_page, write_pdf
from serving import Play, PlayedAnalyst, serve

from shimmy_vision.adapters.otel_tracer import OtelTracer
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.analyst import DocumentJob, Job, JobListener, PageOutcome, Restarted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, Progress, Written
from shimmy_vision.ports.tracing import Untraced
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.settings import read_settings
from shimmy_vision.wiring.tracing import open_tracer

PNG = b"\x89PNG\r\n\x1a\nrest"
BODY = {"image": base64.b64encode(PNG).decode(), "prompt": "what is hidden?"}
TRACE, PARENT = "7" * 32, "5" * 16
Ask = Callable[[httpx.Client], None]


def traced(play: Play, ask: Ask, exporter: SpanExporter | None = None) -> dict[str, Any]:
    """The spans, by name, of what ``ask`` asks a server for."""
    memory = InMemorySpanExporter()
    tracer = OtelTracer(exporter or memory, "shimmy-vision", "1")
    app = create_app(PlayedAnalyst(play), ServerOptions(), lambda: None, tracer=tracer)
    with serve(app) as url, httpx.Client(base_url=url, timeout=20) as client:
        ask(client)
    tracer.close()
    found: dict[str, Any] = {}
    for span in memory.get_finished_spans():
        page = (span.attributes or {}).get("shimmy.page", "")
        found[f"{span.name} {page}".strip()] = span
    return found


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return int(context.span_id)


def stages(_job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
    for stage, total in (("decode", 1), ("encode", 2), ("prompt", 1), ("generate", 0)):
        for done in range(total + 1):
            hear(Progress(stage, done, total))  # type: ignore[arg-type]
    hear(Written(0, "hidden words"))
    return {"meta": {"mode": "full"}}


def test_a_request_is_one_trace_from_its_client_to_the_stages_of_its_analysis(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def ask(client: httpx.Client) -> None:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Request-Id": "mine"}
        answer = client.post("/api/vision?hidden=1", json=BODY, headers=headers)
        assert answer.status_code == 200

    with caplog.at_level(logging.INFO, "shimmy_vision"):
        found = traced(stages, ask)
    request, analysis = found["POST vision"], found["analysis"]
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{parent_of(request):016x}" == PARENT
    assert {parent_of(found["intake"]), parent_of(analysis)} == {id_of(request)}
    within = [found[name] for name in ("decode", "encode", "prompt", "generate")]
    assert {parent_of(one) for one in within} == {id_of(analysis)}
    assert {one.context.trace_id for one in found.values()} == {int(TRACE, 16)}
    for earlier, later in pairwise(within):
        assert earlier.end_time <= later.start_time
    assert analysis.attributes["shimmy.kind"] == "image"
    assert analysis.attributes["shimmy.waited_milliseconds"] >= 0
    assert request.attributes["http.response.status_code"] == 200
    (line,) = [one.__dict__["fields"] for one in caplog.records if one.message == "request"]
    assert (line["trace_id"], line["request_id"]) == (TRACE, "mine")
    assert request.attributes["shimmy.request_id"] == "mine"
    shown = "".join(one.to_json() for one in found.values())
    for word in ("hidden", "127.0.0.1", BODY["image"]):
        assert word not in shown, word


def test_each_page_of_a_document_has_its_stages() -> None:
    def play(job: Job, _switch: Cancellation, hear: JobListener) -> None:
        assert isinstance(job, DocumentJob)
        for page in (1, 2):
            hear(PageProgress(page, page - 1, 2, Progress("encode", 0, 1)))
        hear(Restarted())
        for page in (1, 2):
            hear(PageProgress(page, page - 1, 2, Progress("generate", 0, 1)))
            hear(PageOutcome(page, {"text": "hidden"}, None))

    def ask(client: httpx.Client) -> None:
        document = base64.b64encode(write_pdf(text_page("one"), text_page("two"))).decode()
        assert client.post("/api/vision", json={"image": document}).status_code == 200

    found = traced(play, ask)
    assert {"encode 1", "encode 2", "generate 1", "generate 2"} <= set(found)
    assert found["analysis"].attributes["shimmy.restarted"] is True
    assert all(one.end_time for one in found.values())


def test_what_fails_is_told_by_its_code_alone() -> None:
    def fail(job: Job, _switch: Cancellation, hear: JobListener) -> None:
        hear(Progress("encode", 0, 1))
        if getattr(job, "data", b"").endswith(b"crash"):
            raise ZeroDivisionError("hidden")
        raise LibraryError("decode-failed", "about hidden", hint="")

    def ask(client: httpx.Client) -> None:
        assert client.post("/api/vision", json=BODY).status_code == 502

    found = traced(fail, ask)
    assert found["analysis"].status.description == "decode-failed"
    assert found["POST vision"].status.description == "http-502"
    assert found["encode"].end_time is not None
    assert not any(one.events for one in found.values())
    crashed = traced(fail, _crash)
    assert crashed["analysis"].status.description == "internal"
    assert "hidden" not in "".join(one.to_json() for one in crashed.values())


def _crash(client: httpx.Client) -> None:
    body = {"image": base64.b64encode(PNG + b"crash").decode()}
    assert (
        client.post("/api/vision", json=body, headers={"traceparent": "what-ever"}).status_code
        == 500
    )


def test_a_collector_that_takes_nothing_is_told_of_once_and_costs_no_answer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Silent(SpanExporter):
        def export(self, _spans: Any) -> SpanExportResult:
            return SpanExportResult.FAILURE

    def ask(client: httpx.Client) -> None:
        for _ in range(3):
            assert client.post("/api/vision", json=BODY).status_code == 200

    traced(stages, ask, Silent())
    assert [one.message for one in caplog.records if one.name == "shimmy_vision.traces"] == [
        "traces-not-sent"
    ]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_SDK_DISABLED": "TRUE"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "x", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_off_unless_a_collector_is_named(variables: dict[str, str], named: bool) -> None:
    assert read_settings({"HOME": "/nowhere", **variables}).traced is named


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "shimmy_vision.adapters.otel_tracer")
    yield


@pytest.mark.usefixtures("without_extra")
def test_without_the_extra_the_remedy_is_told_and_the_server_serves(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"})
    with open_tracer(settings) as tracer:
        assert isinstance(tracer, Untraced)
    (told,) = [one for one in caplog.records if one.message == "traces-not-installed"]
    assert told.__dict__["fields"]["hint"] == "pip install 'shimmy-vision[otel]'"


def test_where_none_is_named_the_sdk_is_not_even_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "shimmy_vision.adapters.otel_tracer")
    with open_tracer(read_settings({})) as tracer:
        assert isinstance(tracer, Untraced)
    assert "shimmy_vision.adapters.otel_tracer" not in sys.modules
