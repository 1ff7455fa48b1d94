"""The tools as an agent's client sees them, before an analyst that does what the test says."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from client_faces import Held
from mcp import Client
from mcp.types import CallToolResult
from pdf_writer import text_page, write_pdf
from serving import Play, PlayedAnalyst
from threads import until

from shimmy_vision.cli.mcp_calls import describe_progress
from shimmy_vision.cli.mcp_tools import create_mcp_server
from shimmy_vision.domain.answer.analysis_request import CustomQuestion, PageView, StandardQuestion
from shimmy_vision.errors import ImageError, LicenceError
from shimmy_vision.ports.analyst import DocumentJob, ImageJob, Job, JobListener, PageOutcome, UrlJob
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, Progress, Stage, Written
from shimmy_vision.server.orders import OrderLimits

PNG = b"\x89PNG\r\n\x1a\nrest"
PDF = write_pdf(text_page("one"), text_page("two"))
BLOCKS = [{"text": "Straße", "confidence": 0.9, "source": "model"}, {"text": "b"}]
RESULT: dict[str, Any] = {"text_blocks": BLOCKS, "dom_map": [], "meta": {"mode": "ocr"}}


def answer(_job: Job, _switch: Cancellation, _hear: JobListener) -> dict[str, Any] | None:
    return dict(RESULT)


def two_pages(_job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
    hear(PageOutcome(1, RESULT, None))
    hear(PageOutcome(2, None, ImageError("page-corrupt", "It is broken.")))
    return None


def converse(
    play: Play, talk: Callable[[Client], Awaitable[None]], *, jobs: int = 2, most: int = 5_000
) -> PlayedAnalyst:
    analyst = PlayedAnalyst(play)

    async def run() -> None:
        server = create_mcp_server(analyst, OrderLimits(most, most), jobs)
        async with Client(server) as client:
            await talk(client)

    anyio.run(run)
    return analyst


def ask(play: Play, tool: str, **arguments: Any) -> tuple[CallToolResult, PlayedAnalyst]:
    answers: list[CallToolResult] = []

    async def talk(client: Client) -> None:
        answers.append(await client.call_tool(tool, arguments))

    analyst = converse(play, talk)
    return answers[0], analyst


def said(answered: CallToolResult) -> str:
    (content,) = answered.content
    assert content.type == "text"
    return content.text


def test_the_tools_say_what_they_take_and_give() -> None:
    async def talk(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"analyze_image", "read_text", "analyze_page"}
        for tool in tools.values():
            assert tool.description
            assert tool.output_schema is not None
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint
            for name, parameter in tool.input_schema["properties"].items():
                assert parameter.get("description"), f"{tool.name}.{name}"
        assert tools["analyze_page"].input_schema["required"] == ["url"]
        assert "required" not in tools["analyze_image"].input_schema

    converse(answer, talk)


def test_an_image_comes_from_a_file_a_url_or_base64(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    encoded = base64.b64encode(PNG).decode()
    for source in (
        {"path": str(tmp_path / "a.png")},
        {"base64": encoded},
        {"base64": f"data:image/png;base64,{encoded}"},
        {"url": "https://a.example/a.png"},
    ):
        answered, analyst = ask(answer, "analyze_image", mode="layout", **source)
        assert not answered.is_error
        assert answered.structured_content == json.loads(said(answered)) == RESULT
        (job,) = analyst.jobs
        if isinstance(job, UrlJob):
            assert (job.url, job.request.analysis.question) == (
                "https://a.example/a.png",
                StandardQuestion("layout"),
            )
        else:
            assert isinstance(job, ImageJob)
            assert (job.data, job.request.question) == (PNG, StandardQuestion("layout"))


def test_an_own_question_and_schema(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(PDF)
    schema = {"type": "object"}
    answered, analyst = ask(
        two_pages, "analyze_image", path=str(tmp_path / "a.pdf"), prompt="what?", schema=schema,
        pages="2-", max_tokens=7,
    )  # fmt: skip
    (job,) = analyst.jobs
    assert isinstance(job, DocumentJob)
    assert job.request.analysis.question == CustomQuestion("what?", schema)
    assert (job.request.pages[0].first, job.request.analysis.limits.max_tokens) == (2, 7)
    assert answered.structured_content is not None
    first, second = answered.structured_content["pages"]
    assert (first["result"], second["error"]["code"]) == (RESULT, "page-corrupt")


def test_text_is_read_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PNG)
    answered, analyst = ask(answer, "read_text", path=str(tmp_path / "a.png"))
    assert said(answered) == "Straße\nb"
    assert answered.structured_content == {
        "pages": [{"page": 1, "text": "Straße\nb", "blocks": BLOCKS, "error": None}]
    }
    assert isinstance(analyst.jobs[0], ImageJob)
    assert analyst.jobs[0].request.question == StandardQuestion("ocr")
    answered, _ = ask(two_pages, "read_text", base64=base64.b64encode(PDF).decode())
    assert said(answered) == "[page 1]\nStraße\nb\n\n[page 2]\nIt is broken."


def test_a_page_is_seen_as_wished() -> None:
    answered, analyst = ask(answer, "analyze_page", url="https://a.example/")
    assert answered.structured_content == RESULT
    answered, analyst = ask(
        answer, "analyze_page", url="https://a.example/", viewport="375x667", full_page=False,
        dom_map=False, mode="brief",
    )  # fmt: skip
    assert answered.structured_content is not None
    assert "dom_map" not in answered.structured_content
    (job,) = analyst.jobs
    assert isinstance(job, UrlJob)
    assert job.view == PageView(375, 667, 1.0, False)


@pytest.mark.parametrize(
    ("tool", "arguments", "code"),
    [
        ("analyze_image", {}, "source-unclear"),
        ("read_text", {"path": "a", "url": "https://a.example"}, "source-unclear"),
        ("analyze_image", {"path": "/nowhere/a.png"}, "image-not-found"),
        ("analyze_image", {"path": "/"}, "image-unreadable"),
        ("analyze_image", {"base64": "!"}, "image-not-base64"),
        ("analyze_image", {"base64": "aaaa" * 5_000}, "image-too-large"),
        ("analyze_image", {"base64": "aaaa", "mode": "ocr", "prompt": "x"}, "mode-with-question"),
        ("analyze_image", {"base64": "aaaa", "prompt": "x" * 20_001}, "fields-invalid"),
        ("read_text", {"base64": "aaaa", "pages": "x"}, "pages-malformed"),
        ("analyze_image", {"base64": "aaaa", "mode": "all"}, "mode"),
        ("analyze_page", {"url": "https://a.example", "viewport": "wide"}, "viewport"),
        ("analyze_page", {}, "url"),
    ],
)
def test_what_is_wrong_is_said(tool: str, arguments: dict[str, Any], code: str) -> None:
    answered, analyst = ask(answer, tool, **arguments)
    assert answered.is_error
    assert code in said(answered)
    assert analyst.jobs == []


def test_a_file_too_large_is_not_read_to_its_end(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(1 << 40)
    answered, _ = ask(answer, "analyze_image", path=str(tmp_path / "a.png"))
    assert answered.is_error
    assert "[image-too-large]" in said(answered)


def test_an_error_has_message_hint_and_code() -> None:
    def refuse(*_: Any) -> dict[str, Any]:
        raise LicenceError("licence-missing", "No licence.", hint="shimmy license activate KEY")

    def broken(_job: Job, _switch: Cancellation, hear: JobListener) -> None:
        hear(PageOutcome(1, None, ImageError("page-corrupt", "It is broken.")))

    def crash(*_: Any) -> dict[str, Any]:
        raise RuntimeError("secret")

    answered, _ = ask(refuse, "analyze_page", url="https://a.example")
    assert answered.is_error
    assert said(answered).endswith("No licence. shimmy license activate KEY [licence-missing]")
    answered, _ = ask(broken, "read_text", url="https://a.example/a.pdf")
    assert answered.is_error
    assert "[page-corrupt]" in said(answered)
    answered, _ = ask(crash, "read_text", url="https://a.example")
    assert answered.is_error
    assert "secret" not in said(answered)


def test_progress_is_told_and_only_grows() -> None:
    told: list[tuple[float, float | None, str | None]] = []

    def play(_job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
        # Else they are overtaken, and not told.
        for done, heard in ((1, 1), (2, 2), (1, 2), (3, 3)):
            hear(Progress("encode", done, 3))
            until(lambda heard=heard: len(told) >= heard)  # type: ignore[misc]
        hear(Written(0, "a"))
        return RESULT

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async def talk(client: Client) -> None:
        source = {"url": "https://a.example"}
        await client.call_tool("read_text", source, progress_callback=listen)

    converse(play, talk)
    shares = [share for share, _, _ in told]
    assert shares == sorted(set(shares))
    assert told[0][0] == pytest.approx(0.4)
    assert told[0][1:] == (1.0, "encode 1 of 3")
    assert len(told) == 3


def test_every_stage_has_its_share() -> None:
    stages: tuple[Stage, ...] = get_args(Stage)
    shares = [describe_progress(Progress(stage, 1, 2))[0] for stage in stages]
    assert shares == sorted(shares)
    share, words = describe_progress(PageProgress(2, 1, 4, Progress("generate", 1, 1)))
    assert share == pytest.approx(0.5)
    assert words == "page 2: generate 1 of 1"


def test_a_client_that_gives_up_stops_the_job_and_whoever_waited_is_not_begun() -> None:
    held = Held(Progress("encode", 1, 3))

    async def talk(client: Client) -> None:
        with anyio.CancelScope() as given_up:
            async with anyio.create_task_group() as group:
                for _ in range(2):
                    group.start_soon(client.call_tool, "read_text", {"url": "https://a.example"})
                await anyio.to_thread.run_sync(held.begun.wait, 60)
                # What the other one takes to be there, too: it has only to wait.
                await anyio.sleep(0.5)
                given_up.cancel()
        assert given_up.cancelled_caught
        assert await anyio.to_thread.run_sync(lambda: held.stopped.acquire(timeout=15))
        held.open.set()
        answered = await client.call_tool("read_text", {"url": "https://a.example"})
        assert not answered.is_error

    assert len(converse(held, talk, jobs=1).jobs) == 2
