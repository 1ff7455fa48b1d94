"""The adapter to vLLM, over a server that speaks as it does and goes wrong in many ways."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from vllm_stand_in import StandIn, image_asked, serve_stand_in

from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
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
    assert order["model"] == "fleet"
    assert order["seed"] == 7
    assert order["response_format"]["json_schema"]["schema"] == FULL_ANSWER
    image = image_asked(order)
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
        ("400", "remote-not-understood", 1),
        ("html", "remote-not-understood", 1),
        ("redirect", "remote-not-understood", 1),
        ("invalid", "remote-answer-invalid", 1),
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


@pytest.mark.parametrize("fault", ["html", "redirect"])
def test_what_answers_as_no_vllm_is_never_sent_an_image(
    stand_in: StandIn, model: VllmModel, fault: str
) -> None:
    stand_in.go_wrong(fault)
    with pytest.raises(LibraryError) as caught:
        ask(model, question())
    assert caught.value.code == "remote-not-understood"
    assert not stand_in.asked


def test_a_wrong_key_is_said_so(stand_in: StandIn, model: VllmModel) -> None:
    stand_in.key = "another"
    with pytest.raises(LibraryError) as caught:
        model.identify(Cancellation())
    assert caught.value.code == "remote-key-refused"


def test_nobody_there_is_said_so() -> None:
    with serve_stand_in() as served:
        url = served.url
    model = VllmModel(url, None, silence=1, first_pause=0.001)
    with pytest.raises(LibraryError) as caught:
        model.identify(Cancellation())
    assert caught.value.code == "remote-unreachable"
    model.close()


def test_silence_ends_after_a_while(stand_in: StandIn) -> None:
    model = VllmModel(stand_in.url, None, silence=0.1, first_pause=0.001)
    model.identify(Cancellation())
    stand_in.go_wrong("silent")
    with pytest.raises(LibraryError) as caught:
        ask(model, question())
    assert caught.value.code == "remote-unreachable"
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
