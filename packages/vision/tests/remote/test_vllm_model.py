"""The adapter to vLLM, over a server that speaks as it does and goes wrong in many ways."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fleet import certify
from vllm_stand_in import StandIn, image_asked, serve_stand_in

from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.adapters.remote import vllm_model
from shimmy_vision.adapters.remote.vllm_model import VllmModel
from shimmy_vision.domain.answer.analysis_request import ChatTurn
from shimmy_vision.domain.answer.answer_schemas import FULL_ANSWER
from shimmy_vision.errors import DeadlineError, LibraryError, ModelError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.remote_model import RemoteQuestion
from shimmy_vision.use_cases.ask_remote import ask_remote

PIXELS = np.zeros((30, 40, 3), np.uint8)
PIXELS[:, :, 0] = 200


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with serve_stand_in() as served:
        yield served


@pytest.fixture
def model(stand_in: StandIn) -> Iterator[VllmModel]:
    opened = VllmModel(f"{stand_in.url}/v1", "key", silence=5, first_pause=0.01)
    yield opened
    opened.close()


def question(max_tokens: int = 1000, seed: int | None = None) -> RemoteQuestion:
    turns = (ChatTurn("system", "Be brief."), ChatTurn("user", "What is it?", ""))
    return RemoteQuestion(turns, PIXELS, FULL_ANSWER, max_tokens, 0.0, 0.8, seed)


def ask(model: VllmModel, asked: RemoteQuestion, switch: Cancellation | None = None) -> bytes:
    cancellation = switch or Cancellation()
    answer = ask_remote(model, asked, LlguidanceSchemas(), cancellation, lambda _: None)
    return bytes(answer.data)


def test_an_answer_is_compact_json_under_the_schema_with_its_probabilities(
    stand_in: StandIn, model: VllmModel
) -> None:
    heard: list[object] = []
    schemas = LlguidanceSchemas()
    answer = ask_remote(model, question(seed=7), schemas, Cancellation(), heard.append)
    data = bytes(answer.data)
    assert schemas.close(FULL_ANSWER, data, Cancellation()) == data
    assert b"\n" not in data
    assert not answer.truncated
    assert answer.prompt_tokens == 700
    assert heard
    assert {round(span.probability, 3) for span in answer.spans} == {0.607}
    assert answer.spans[-1].end == len(data)
    order = stand_in.asked[-1]
    image = image_asked(order)
    del order["messages"]
    schema = {"name": "answer", "schema": FULL_ANSWER, "strict": True}
    assert order == {
        "model": "fleet", "max_tokens": 1000, "temperature": 0.0, "top_p": 0.8, "seed": 7,
        "stream": True, "stream_options": {"include_usage": True}, "logprobs": True,
        "response_format": {"type": "json_schema", "json_schema": schema},
        "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip
    assert np.array_equal(np.asarray(image), PIXELS)


def test_an_answer_that_met_its_bound_is_its_beginning(model: VllmModel) -> None:
    schemas = LlguidanceSchemas()
    answer = ask_remote(model, question(3), schemas, Cancellation(), lambda _: None)
    assert answer.truncated
    closed = schemas.close(FULL_ANSWER, bytes(answer.data), Cancellation())
    assert closed.startswith(bytes(answer.data)[:8])


@pytest.mark.parametrize(
    ("root", "parent", "reason"),
    [
        ("Qwen/Qwen2-VL-7B", None, "Qwen2-VL-7B"),
        ("somebody/MiniCPM-V-4_5", None, "MiniCPM-V-4_5"),
        ("openbmb/MiniCPM-o-2_6", None, "MiniCPM-o-2_6"),
        ("openbmb/MiniCPM-V-4_5", "openbmb/MiniCPM-V-4_5", "MiniCPM-V-4_5"),
    ],
)
def test_any_other_model_is_refused_and_sees_no_image(
    stand_in: StandIn, model: VllmModel, root: str, parent: str | None, reason: str
) -> None:
    stand_in.models = [{"id": "openbmb/MiniCPM-V-4_5", "root": root, "parent": parent}]
    with pytest.raises(ModelError, match=reason) as caught:
        ask(model, question())
    assert caught.value.code == "remote-model-refused"
    assert not stand_in.asked


def test_another_model_at_the_same_address_is_sent_nothing(stand_in: StandIn) -> None:
    model = VllmModel(stand_in.url, None, silence=5, first_pause=0.01, known_for=0)
    assert ask(model, question())
    stand_in.models[0]["root"] = "Qwen/Qwen2-VL-7B"
    with pytest.raises(ModelError) as refused:
        ask(model, question())
    # Also what would be taken at a beginning: results would tell the wrong one.
    stand_in.models[0]["root"] = "openbmb/MiniCPM-V-4_6"
    with pytest.raises(ModelError) as changed:
        ask(model, question())
    codes = (refused.value.code, changed.value.code)
    assert codes == ("remote-model-refused", "remote-model-changed")
    assert len(stand_in.asked) == 1


def test_after_a_break_the_model_is_asked_for_again(stand_in: StandIn, model: VllmModel) -> None:
    ask(model, question())
    ask(model, question())
    assert stand_in.listed == 1
    stand_in.go_wrong("cut", 1)
    stand_in.models[0]["root"] = "Qwen/Qwen2-VL-7B"
    with pytest.raises(ModelError):
        ask(model, question())
    assert len(stand_in.asked) == 3


@pytest.mark.parametrize("fault", ["429", "500", "cut", "error", "garbled"])
def test_what_passes_is_tried_again(stand_in: StandIn, model: VllmModel, fault: str) -> None:
    model.identify(Cancellation())
    stand_in.go_wrong(fault, 2)
    assert ask(model, question())
    assert len(stand_in.asked) == 3


@pytest.mark.parametrize(
    ("fault", "code", "tries"),
    [
        ("429", "remote-busy", 4),
        ("500", "remote-busy", 4),
        ("cut", "remote-broken-off", 4),
        ("400", "remote-request-refused", 1),
        ("html", "remote-not-understood", 1),
        ("redirect", "remote-not-understood", 1),
        ("invalid", "remote-answer-invalid", 1),
        ("invalid-cut", "remote-answer-invalid", 1),
    ],
)
def test_what_does_not_pass_is_told_and_quotes_nothing(
    stand_in: StandIn, model: VllmModel, fault: str, code: str, tries: int
) -> None:
    model.identify(Cancellation())
    stand_in.go_wrong(fault)
    with pytest.raises(LibraryError) as caught:
        ask(model, question())
    assert caught.value.code == code
    assert len(stand_in.asked) == tries
    told = f"{caught.value} {caught.value.hint}"
    assert "secret" not in told
    assert "127.0.0.1" not in told


@pytest.mark.parametrize(
    ("bound", "fault", "reason"),
    [("_MOST_BYTES", "", "answer-too-long"), ("_LONGEST_EVENT", "unending", "event-too-long")],
)
def test_what_does_not_end_is_not_held(
    stand_in: StandIn, model: VllmModel, bound: str, fault: str, reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(vllm_model, bound, 200)
    stand_in.go_wrong(fault)
    with pytest.raises(LibraryError, match=reason):
        ask(model, question())


@pytest.mark.parametrize(
    ("wish", "waited"), [("0.01", 0.01), ("900", 8.0), ("-5", 3.0), ("soon", 3.0), ("nan", 3.0)]
)
def test_a_servers_wish_is_honoured_within_reason(
    stand_in: StandIn, wish: str, waited: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(vllm_model, "_sleep", lambda seconds, _: pauses.append(seconds))
    model = VllmModel(stand_in.url, None, silence=5, first_pause=3)
    stand_in.retry_after = wish
    stand_in.go_wrong("429", 1)
    assert ask(model, question())
    assert pauses == [waited]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("list-html", "no JSON"), ("list-redirect", "HTTP 307"), ("list-endless", "does not end")],
)
def test_what_answers_as_no_vllm_is_never_sent_an_image(
    stand_in: StandIn, model: VllmModel, fault: str, reason: str
) -> None:
    stand_in.go_wrong(fault)
    with pytest.raises(LibraryError, match=reason) as caught:
        ask(model, question())
    assert caught.value.code == "remote-not-understood"
    assert not stand_in.asked


def test_no_proxy_of_the_environment_sees_an_image(
    stand_in: StandIn, model: VllmModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serve_stand_in() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert ask(model, question())
        assert (len(stand_in.asked), proxy.listed, len(proxy.asked)) == (1, 0, 0)


def test_a_wrong_key_is_said_so(stand_in: StandIn, model: VllmModel) -> None:
    stand_in.key = "another"
    with pytest.raises(LibraryError) as caught:
        model.identify(Cancellation())
    assert caught.value.code == "remote-key-refused"


def test_a_certificate_that_nobody_vouches_for_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = certify(tmp_path)
    with serve_stand_in((certificate, key)) as served:
        with pytest.raises(LibraryError) as caught:
            VllmModel(served.url, None, silence=5, first_pause=30).identify(Cancellation())
        assert caught.value.code == "remote-not-trusted"
        assert "SSL_CERT_FILE" in caught.value.hint
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert VllmModel(served.url, None, silence=5).identify(Cancellation()).family == "4.5"


def test_nobody_there_is_said_so() -> None:
    # Taken, so that no other test's server gets the port, and nobody listens.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        model = VllmModel(url, None, silence=1, first_pause=0.001)
        with pytest.raises(LibraryError) as caught:
            model.identify(Cancellation())
    assert caught.value.code == "remote-unreachable"
    model.close()


def test_silence_ends_after_a_while(stand_in: StandIn) -> None:
    model = VllmModel(stand_in.url, None, silence=0.4, first_pause=0.001)
    # Not by an exchange of its own: within this silence a busy machine may answer nothing.
    stand_in.go_wrong("silent")
    with pytest.raises(LibraryError) as caught:
        ask(model, question())
    assert caught.value.code == "remote-unreachable"
    assert stand_in.answering.wait(20)
    model.close()


@pytest.mark.parametrize(
    ("reason", "kind"), [("interrupted", StoppedError), ("deadline", DeadlineError)]
)
def test_a_stop_hangs_up_at_once(
    stand_in: StandIn, model: VllmModel, reason: str, kind: type[StoppedError]
) -> None:
    model.identify(Cancellation())
    stand_in.go_wrong("slow")
    switch = Cancellation()

    def stop() -> None:
        assert stand_in.answering.wait(30)
        switch.cancel(reason)  # type: ignore[arg-type]

    stopper = threading.Thread(target=stop)
    stopper.start()
    began = time.monotonic()
    with pytest.raises(kind):
        ask(model, question(), switch)
    # The server would go on for longer.
    assert time.monotonic() - began < 60
    stopper.join()
    assert stand_in.hung_up.wait(30)
    assert len(stand_in.asked) == 1
