"""``/v1`` as OpenAI's own client sees it, before an analyst that does what the test says."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletionChunk
from pdf_writer import text_page, write_pdf
from pydantic import BaseModel
from serving import Play, PlayedAnalyst, serve

from shimmy_vision.domain.answer.analysis_request import ChatQuestion, ChatTurn
from shimmy_vision.domain.model.model_family import ModelFamily
from shimmy_vision.domain.model.served_model import ServedModel
from shimmy_vision.errors import DeadlineError, ImageError, LibraryError, LicenceError, SchemaError
from shimmy_vision.ports.analyst import (
    EngineStatus,
    ImageJob,
    Job,
    JobEvent,
    JobListener,
    PageOutcome,
    Restarted,
    UrlJob,
)
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.progress import PageProgress, Progress, Written
from shimmy_vision.server.app import create_app
from shimmy_vision.server.app_state import ServerOptions
from shimmy_vision.server.chat_bodies import ChatCompletion
from shimmy_vision.server.guard import GuardRules, digest_key
from shimmy_vision.server.orders import OrderLimits

PNG = b"\x89PNG\r\n\x1a\nrest"


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def see(url: str = data_url(PNG)) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


def say(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


ASKED: Any = [{"role": "user", "content": [say("What is it?"), see()]}]


def result(answer: Any, *, cut: bool = False, family: ModelFamily = "4.6") -> dict[str, Any]:
    warnings = [{"code": "answer-truncated", "message": "cut"}] if cut else []
    tokens = {"prompt": 10, "image": 64, "generated": 7, "forced": 1, "forward_passes": 6}
    meta = {"model": {"family": family}, "tokens": tokens, "warnings": warnings}
    return {"answer": answer, "meta": meta}


def tell(*events: JobEvent, answer: Any = "A cat.", cut: bool = False) -> Play:
    def play(_job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any]:
        for event in events:
            hear(event)
        return result(answer, cut=cut)

    return play


class LoadedAnalyst(PlayedAnalyst):
    """One whose model, once it is loaded, is known."""

    loaded: ModelFamily | None = None

    def status(self) -> EngineStatus:
        if self.loaded is None:
            return super().status()
        model = EngineDescription(self.loaded, True, "m", "p", "b1", "cpu", 1)
        return EngineStatus(True, model, {}, {})


class Server:
    def __init__(self, url: str, analyst: LoadedAnalyst) -> None:
        self.url, self.analyst = url, analyst
        self.openai = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0, timeout=20)

    def ask(self, messages: Any = ASKED, **options: Any) -> Any:
        options = {"model": "default", **options}
        return self.openai.chat.completions.create(messages=messages, **options)

    def pieces(self, **options: Any) -> list[ChatCompletionChunk]:
        return list(self.ask(stream=True, **options))

    def refusal(self, messages: Any = ASKED, **options: Any) -> openai.APIStatusError:
        with pytest.raises(openai.APIStatusError) as refused:
            self.ask(messages, **options)
        return refused.value

    def question(self) -> ChatQuestion:
        job = self.analyst.jobs[-1]
        assert isinstance(job, ImageJob)
        assert isinstance(job.request.question, ChatQuestion)
        return job.request.question


Open = Callable[..., Server]


@pytest.fixture
def open_server() -> Iterator[Open]:
    with ExitStack() as opened:

        def opening(
            play: Play | None = None, models: tuple[ServedModel, ...] = (), **options: Any
        ) -> Server:
            analyst = LoadedAnalyst(play or tell())
            app = create_app(
                analyst, ServerOptions(**options), lambda: None, list_models=lambda: models
            )
            server = Server(opened.enter_context(serve(app)), analyst)
            opened.callback(server.openai.close)
            return server

        yield opening


def content(pieces: list[ChatCompletionChunk]) -> str:
    return "".join(one.choices[0].delta.content or "" for one in pieces if one.choices)


def test_a_completion_is_what_the_client_expects(open_server: Open) -> None:
    server = open_server()
    told = server.ask(model="minicpm-v-4.6")
    assert told.choices[0].message.content == "A cat."
    assert (told.choices[0].finish_reason, told.choices[0].message.refusal) == ("stop", None)
    assert (told.object, told.model) == ("chat.completion", "minicpm-v-4.6")
    assert (told.usage.prompt_tokens, told.usage.completion_tokens) == (74, 7)
    assert told.usage.total_tokens == 81
    assert told.id != server.ask().id
    body = {"messages": ASKED, "model": ""}
    ChatCompletion.model_validate(httpx.post(f"{server.url}/v1/chat/completions", json=body).json())


def test_the_asynchronous_client_is_served_too(open_server: Open) -> None:
    server = open_server(tell(Written(0, '"A '), Written(0, 'cat."')))

    async def ask() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="k") as client:
            whole = await client.chat.completions.create(model="default", messages=ASKED)
            stream = await client.chat.completions.create(
                model="default", messages=ASKED, stream=True
            )
            return whole.choices[0].message.content, content([one async for one in stream])

    assert asyncio.run(ask()) == ("A cat.", "A cat.")


def test_the_conversation_reaches_the_job_with_the_image_where_it_stood(
    open_server: Open,
) -> None:
    server = open_server()
    server.ask(
        [
            {"role": "developer", "content": [say("Be"), say("brief.")]},
            {"role": "user", "content": [say("Look:"), see(), say("What"), say("is it?")]},
            {"role": "assistant", "content": "A cat."},
            {"role": "user", "content": "Which colour?", "name": "me"},
        ]
    )
    assert server.question() == ChatQuestion(
        (
            ChatTurn("system", "Be\nbrief."),
            ChatTurn("user", "Look:", "What\nis it?"),
            ChatTurn("assistant", "A cat."),
            ChatTurn("user", "Which colour?"),
        )
    )
    job = server.analyst.jobs[-1]
    assert isinstance(job, ImageJob)
    assert job.data == PNG
    server.ask([{"role": "user", "content": [see()]}])
    assert server.question().turns == (ChatTurn("user", "", ""),)


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ({}, (None, None, None, None)),
        ({"max_tokens": 9, "seed": 3}, (9, 3, None, None)),
        ({"max_tokens": 9, "max_completion_tokens": 8}, (8, None, None, None)),
        ({"temperature": 0, "top_p": 0.5}, (None, None, 0, 0.5)),
        ({"temperature": 1.5, "seed": 0, "top_p": 1}, (None, 0, 1.5, 1)),
        ({"seed": -1}, (None, 2**63 - 1, None, None)),
    ],
)
def test_how_to_sample_reaches_the_job(
    open_server: Open, options: dict[str, Any], limits: tuple[Any, ...]
) -> None:
    server = open_server()
    server.ask(**options)
    job = server.analyst.jobs[-1]
    assert isinstance(job, ImageJob)
    given = job.request.limits
    assert (given.max_tokens, given.seed, given.temperature, given.top_p) == limits


def test_who_samples_without_a_seed_gets_another_each_time(open_server: Open) -> None:
    server = open_server()
    for _ in range(2):
        server.ask(temperature=0.7)
    one, two = (job.request.limits.seed for job in server.analyst.jobs if isinstance(job, ImageJob))
    assert None not in (one, two)
    assert one != two


def test_what_changes_nothing_is_let_be(open_server: Open) -> None:
    server = open_server()
    told = server.ask(
        n=1, user="me", metadata={"a": "b"}, store=True, service_tier="auto", tools=[],
        tool_choice="none", logprobs=False, stop=None, logit_bias={}, presence_penalty=0,
        frequency_penalty=0.0, modalities=["text"], reasoning_effort="low",
        response_format={"type": "text"}, extra_body={"something_new": [1]},
    )  # fmt: skip
    assert told.choices[0].message.content == "A cat."
    assert server.question().schema is None


@pytest.mark.parametrize(
    "option",
    [
        {"n": 2}, {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tool_choice": "required"}, {"functions": [{"name": "f"}]}, {"logprobs": True},
        {"top_logprobs": 3}, {"stop": ["."]}, {"logit_bias": {"1": 5}}, {"presence_penalty": 0.1},
        {"frequency_penalty": -1}, {"modalities": ["text", "audio"]},
        {"audio": {"voice": "ash", "format": "mp3"}}, {"web_search_options": {}},
    ],
)  # fmt: skip
def test_what_would_change_the_answer_is_refused_by_name(
    open_server: Open, option: dict[str, Any]
) -> None:
    server = open_server()
    refused = server.refusal(**option)
    assert isinstance(refused, openai.BadRequestError)
    assert refused.code == "parameter-unsupported"
    assert next(iter(option)) in refused.message
    assert server.analyst.jobs == []


PDF = data_url(write_pdf(text_page("one")), "application/pdf")
USER = {"role": "user", "content": [see()]}


@pytest.mark.parametrize(
    ("messages", "status", "code"),
    [
        ([{"role": "user", "content": "What is it?"}], 400, "image-missing"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], 400, "image-missing"),
        ([{"role": "user", "content": [see(), see()]}], 400, "one-image-only"),
        ([USER, USER], 400, "one-image-only"),
        ([{"role": "user", "content": [see(PDF)]}], 400, "one-image-only"),
        ([USER, {"role": "assistant", "content": "Well"}], 400, "reply-not-asked"),
        ([{"role": "user", "content": [see("data:image/png;base64,?")]}], 400, "image-not-base64"),
        ([{"role": "user", "content": [see("file:///etc/passwd")]}], 400, "image-url-unsupported"),
        ([{"role": "user", "content": [see("https://a/" + "a" * 9000)]}], 400,
         "image-url-unsupported"),
        ([{"role": "user", "content": [see(), {"type": "input_audio"}]}], 400,
         "parameter-unsupported"),
        ([USER, {"role": "tool", "content": "1", "tool_call_id": "a"}], 400,
         "parameter-unsupported"),
        ([USER, {"role": "assistant", "tool_calls": [{"id": "a"}]}, USER], 400,
         "parameter-unsupported"),
        ([{"role": "user", "content": [see(), say("a" * 200_001)]}], 400, "prompt-too-long"),
        ([{"role": "user", "content": [see(data_url(PNG + bytes(1500)))]}], 413, "image-too-large"),
        ([{"role": "robot", "content": "x"}], 422, "fields-invalid"),
        ([], 422, "fields-invalid"),
    ],
)  # fmt: skip
def test_a_conversation_that_cannot_be_had_is_refused(
    open_server: Open, messages: Any, status: int, code: str
) -> None:
    server = open_server(limits=OrderLimits(max_image_bytes=1500))
    refused = server.refusal(messages)
    assert (refused.status_code, refused.code) == (status, code)
    assert server.analyst.jobs == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"max_tokens": 5000}, "max-tokens-too-large"),
        ({"max_tokens": 0}, "fields-invalid"),
        ({"temperature": 2.1}, "fields-invalid"),
        ({"top_p": -0.1}, "fields-invalid"),
        ({"response_format": {"type": "json_schema"}}, "fields-invalid"),
        ({"response_format": {"type": "xml"}}, "fields-invalid"),
    ],
)
def test_a_wrong_option_is_refused(open_server: Open, options: dict[str, Any], code: str) -> None:
    assert open_server().refusal(**options).code == code


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (LicenceError("licence-missing", "none"), openai.AuthenticationError),
        (LicenceError("licence-other-machine", "no"), openai.PermissionDeniedError),
        (ImageError("image-corrupt", "broken"), openai.BadRequestError),
        (SchemaError("schema-unsupported", "no"), openai.UnprocessableEntityError),
        (LibraryError("engine-crashed", "gone", retryable=True), openai.InternalServerError),
        (DeadlineError("deadline-exceeded", "late"), openai.InternalServerError),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_an_analysis_raises_is_the_clients_own_exception(
    open_server: Open, error: Any, kind: type[openai.APIStatusError], stream: bool
) -> None:
    def fail(_job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any]:
        hear(Progress("decode", 0, 0))
        raise error

    refused = open_server(fail).refusal(stream=stream)
    assert type(refused) is kind
    assert refused.code == error.code


def test_a_full_line_and_a_wrong_key_are_the_clients_own_exceptions(open_server: Open) -> None:
    server = open_server(max_held_bytes=10)
    assert isinstance(server.refusal(), openai.RateLimitError)
    keyed = open_server(rules=GuardRules(api_keys=(digest_key("other"),)))
    assert isinstance(keyed.refusal(), openai.AuthenticationError)


class Cat(BaseModel):
    name: str
    lives: int


def test_a_schema_of_ones_own_comes_back_as_its_object(open_server: Open) -> None:
    server = open_server(tell(answer={"name": "Mü", "lives": 9}))
    told = server.openai.chat.completions.parse(
        model="default", messages=ASKED, response_format=Cat
    )
    assert told.choices[0].message.parsed == Cat(name="Mü", lives=9)
    assert told.choices[0].message.content == '{"name":"Mü","lives":9}'
    schema = server.question().schema
    assert schema is not None
    assert (schema["required"], schema["additionalProperties"]) == (["name", "lives"], False)
    server.ask(response_format={"type": "json_object"})
    assert server.question().schema == {"type": "object"}


def test_a_cut_answer_says_so(open_server: Open) -> None:
    assert open_server(tell(cut=True)).ask().choices[0].finish_reason == "length"
    pieces = open_server(tell(Written(0, '"A cat."'), cut=True)).pieces()
    assert pieces[-1].choices[0].finish_reason == "length"


def test_a_stream_says_role_text_end_and_usage(open_server: Open) -> None:
    written = (Written(0, '"A \\"c'), Progress("generate", 1, 9), Written(0, 'at\\"\\u00'))
    server = open_server(tell(*written, Written(0, '21"'), answer='A "cat"!'))
    pieces = server.pieces(stream_options={"include_usage": True})
    first, *middle, last, usage = pieces
    assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
    assert [one.choices[0].delta.content for one in middle] == ['A "c', 'at"', "!"]
    assert [one.choices[0].finish_reason for one in middle] == [None] * 3
    assert last.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage is not None
    assert (usage.usage.prompt_tokens, usage.usage.total_tokens) == (74, 81)
    assert len({(one.id, one.created, one.model) for one in pieces}) == 1
    assert all(one.choices for one in server.pieces()), "no usage where none is asked for"


def test_the_streams_text_on_the_wire(open_server: Open) -> None:
    body = {"messages": ASKED, "stream": True, "stream_options": {"include_usage": True}}
    response = httpx.post(f"{open_server().url}/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *pieces, done = response.text.removesuffix("\n\n").split("\n\n")
    assert done == "data: [DONE]"
    told = [json.loads(one.removeprefix("data: ")) for one in pieces]
    assert [one["usage"] is None for one in told] == [True] * (len(told) - 1) + [False]


def test_a_kept_result_is_streamed_whole(open_server: Open) -> None:
    assert content(open_server(tell(answer="Kept.")).pieces()) == "Kept."
    kept = open_server(tell(answer={"a": [1, "ü"]}))
    assert content(kept.pieces(response_format={"type": "json_object"})) == '{"a":[1,"ü"]}'


def test_json_is_streamed_as_it_is_written(open_server: Open) -> None:
    server = open_server(tell(Written(0, '{"a":'), Written(0, "1}"), answer={"a": 1}))
    pieces = server.pieces(response_format={"type": "json_object"})
    assert [one.choices[0].delta.content for one in pieces[1:-1]] == ['{"a":', "1}"]
    cut = open_server(tell(Written(0, '{"ab'), answer={}, cut=True))
    pieces = cut.pieces(response_format={"type": "json_object"})
    assert (content(pieces), pieces[-1].choices[0].finish_reason) == ('{"ab', "length")


def test_an_engine_that_begins_again_says_nothing_twice(open_server: Open) -> None:
    again = (Written(0, '"A c'), Restarted(), Written(0, '"A'), Written(0, ' cat."'))
    pieces = open_server(tell(*again)).pieces()
    assert [one.choices[0].delta.content for one in pieces[1:-1]] == ["A c", "at."]
    kept = open_server(tell(Written(0, '"A c'), Restarted()))
    assert content(kept.pieces()) == "A cat."


@pytest.mark.parametrize(
    "again", [(Written(0, '"A dog"'),), (Written(0, '"A"'),), (Written(0, '"A cool'),)]
)
def test_what_was_said_is_not_unsaid(open_server: Open, again: tuple[Written, ...]) -> None:
    answer = json.loads(f'{again[0].text.rstrip(chr(34))}"')
    server = open_server(tell(Written(0, '"A cat'), Restarted(), *again, answer=answer))
    told = ""
    with pytest.raises(openai.APIError) as failed:
        for piece in server.ask(stream=True):
            told += piece.choices[0].delta.content or ""
    assert (told, failed.value.code) == ("A cat", "answer-changed")


def test_an_error_after_the_first_words_ends_the_stream(open_server: Open) -> None:
    def fail(_job: Job, _switch: Cancellation, hear: JobListener) -> dict[str, Any]:
        hear(Written(0, '"A c'))
        raise LibraryError("engine-crashed", "gone")

    server = open_server(fail)
    with pytest.raises(openai.APIError) as failed:
        server.pieces()
    assert failed.value.code == "engine-crashed"
    body = {"messages": ASKED, "stream": True}
    lines = httpx.post(f"{server.url}/v1/chat/completions", json=body).text.split("\n\n")
    assert json.loads(lines[-3].removeprefix("data: "))["error"]["code"] == "engine-crashed"
    assert lines[-2:] == ["data: [DONE]", ""]


@pytest.mark.parametrize("words", [0, 1])
def test_a_client_that_goes_away_stops_its_job(open_server: Open, words: int) -> None:
    begun, stopped = threading.Event(), threading.Event()

    def play(_job: Job, switch: Cancellation, hear: JobListener) -> dict[str, Any]:
        for _ in range(words):
            hear(Written(0, '"A'))
        begun.set()
        with switch.when_cancelled(stopped.set):
            assert stopped.wait(20)
        switch.check()
        return result("A")

    server = open_server(play)
    url, body = f"{server.url}/v1/chat/completions", {"messages": ASKED, "stream": True}
    if words == 0:
        # Before anything is said there is no answer yet that could be left.
        sent = json.dumps(body).encode()
        name, _, port = server.url.removeprefix("http://").partition(":")
        with socket.create_connection((name, int(port)), timeout=20) as line:
            line.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(sent), sent)
            )
            assert begun.wait(20)
    else:
        with httpx.stream("POST", url, json=body, timeout=20) as response:
            next(response.iter_bytes())
            # Its first words may be here before its thread goes on.
            assert begun.wait(20)
    # Otherwise it is given up only after twenty seconds.
    assert stopped.wait(10)


def test_a_url_is_fetched_and_a_pdf_there_is_refused(open_server: Open) -> None:
    def play(job: Job, switch: Cancellation, hear: JobListener) -> dict[str, Any] | None:
        assert isinstance(job, UrlJob)
        if job.url.endswith("pdf"):
            hear(PageProgress(1, 0, 1, Progress("decode", 0, 0)))
            stopped.append(switch)
            hear(PageOutcome(1, result("x"), None))
            return None
        return result("From afar.")

    stopped: list[Cancellation] = []
    server = open_server(play)
    far: Any = [{"role": "user", "content": [see("HTTPS://a.example/cat.png")]}]
    assert server.ask(far).choices[0].message.content == "From afar."
    assert isinstance(server.analyst.jobs[0], UrlJob)
    for stream in (False, True):
        far[0]["content"] = [see("http://a.example/a.pdf")]
        assert server.refusal(far, stream=stream).code == "one-image-only"
        assert stopped[-1].reason == "interrupted"


INSTALLED = (ServedModel("4.6", 1_700_000_000), ServedModel("2.6"))


def test_models_are_those_that_a_request_may_name(open_server: Open) -> None:
    server = open_server(models=INSTALLED)
    listed = server.openai.models.list().data
    assert [(one.id, one.created, one.owned_by) for one in listed] == [
        ("minicpm-v-4.6", 1_700_000_000, "openbmb"),
        ("minicpm-v-2.6", 0, "openbmb"),
    ]
    assert server.openai.models.retrieve("minicpm-v-2.6").id == "minicpm-v-2.6"
    server.analyst.loaded = "4.6"
    assert [one.id for one in server.openai.models.list().data] == ["minicpm-v-4.6"]
    for name in ("4.6", "MiniCPM-V-4_6", "openbmb/MiniCPM-V-4_6", "minicpm-v-4.6", "", "Default"):
        assert server.ask(model=name).model == "minicpm-v-4.6"


@pytest.mark.parametrize("name", ["gpt-4o", "minicpm-v-2.6", "../../etc/passwd", "minicpm-v"])
def test_another_model_is_not_pretended(open_server: Open, name: str) -> None:
    server = open_server(models=INSTALLED)
    server.analyst.loaded = "4.6"
    refused = server.refusal(model=name)
    assert isinstance(refused, openai.NotFoundError)
    assert refused.code == "model-unknown"
    assert "minicpm-v-4.6" in refused.response.json()["error"]["hint"]
    with pytest.raises(openai.NotFoundError):
        server.openai.models.retrieve(name)
    assert server.analyst.jobs == []


@pytest.mark.parametrize("stream", [False, True])
def test_another_model_that_turns_out_to_answer_is_not_pretended(
    open_server: Open, stream: bool
) -> None:
    server = open_server(models=INSTALLED)
    assert server.refusal(model="minicpm-v-2.6", stream=stream).code == "model-unknown"
    unknown = open_server()
    assert unknown.ask(model="minicpm-v-4.6").model == "minicpm-v-4.6"
    assert unknown.refusal(model="minicpm-v-2.6", stream=stream).code == "model-unknown"
    assert unknown.refusal(model="gpt-4o").code == "model-unknown"


def test_the_description_names_the_bodies_and_every_reference_leads_somewhere(
    open_server: Open,
) -> None:
    described = httpx.get(f"{open_server().url}/openapi.json").json()
    asked = described["paths"]["/v1/chat/completions"]["post"]
    told = asked["responses"]["200"]["content"]
    assert told["application/json"]["schema"] == {"$ref": "#/components/schemas/ChatCompletion"}
    assert "text/event-stream" in told
    assert "messages" in asked["requestBody"]["content"]["application/json"]["schema"]["required"]

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for one in part.values():
                yield from references(one)
        elif isinstance(part, list):
            for one in part:
                yield from references(one)

    names = {one.removeprefix("#/components/schemas/") for one in references(described)}
    assert names <= set(described["components"]["schemas"])
