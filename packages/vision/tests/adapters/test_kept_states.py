"""A recalled state answers as the prompt itself would, on both kinds of model, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from shimmy_sandbox.synthetic_model import SyntheticPair
from shimmy_vision.adapters.engine.engine_caches import EngineCaches
from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llama_sequence import LlamaSequence
from shimmy_vision.domain.answer.analysis_request import ChatTurn
from shimmy_vision.domain.answer.prompts import (
    BRIEF,
    LAYOUT,
    Prompt,
    Segment,
    compose_prompt,
    instruct,
)
from shimmy_vision.domain.answer.sampling import GREEDY
from shimmy_vision.ports.cache_limits import CacheLimits
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.use_cases import generate_answer as answering
from shimmy_vision.use_cases.generate_answer import AnswerOrder, GeneratedAnswer, generate_answer

ANY = Cancellation()
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "string"}, "b": {"type": "array", "items": {"type": "number"}}},
    "required": ["a", "b"],
    "additionalProperties": False,
}
END = (Segment("<|im_end|>\n<|im_start|>assistant\n", special=True),)
OpenEngine = Callable[..., LlamaEngine]


@pytest.fixture(scope="module", params=["2.6", "4.6"])
def open_one(
    request: pytest.FixtureRequest,
    synthetic_26: SyntheticPair,
    synthetic_46: SyntheticPair,
    open_engine: OpenEngine,
) -> Iterator[Callable[[EngineCaches | None], LlamaEngine]]:
    opened = list[LlamaEngine]()
    pair = synthetic_26 if request.param == "2.6" else synthetic_46

    def open_with(caches: EngineCaches | None) -> LlamaEngine:
        opened.append(open_engine(pair, request.param, context=2048, sequences=2, caches=caches))
        return opened[-1]

    yield open_with
    for engine in opened:
        engine.close()


def _answer(engine: LlamaEngine, words: str, shade: int) -> GeneratedAnswer:
    prompt = Prompt((Segment(f"<|im_start|>user\n{20 * words}", special=True),), END)
    return _answer_to(prompt, engine, shade)


def _answer_to(prompt: Prompt, engine: LlamaEngine, shade: int) -> GeneratedAnswer:
    rng = np.random.default_rng(shade)
    image = rng.integers(0, 256, (500, 700, 3), dtype=np.uint8)
    order = AnswerOrder(
        model_sha256=engine.description.main_sha256,
        prompt=prompt,
        tile=engine.encoder.encode(image, on_slice=lambda *_: None, cancellation=ANY),
        grammar=engine.grammars.compile(SCHEMA),
        rule=GREEDY,
        seed=0,
        max_tokens=80,
    )
    with engine.sequence(ANY) as model:
        return generate_answer(model, order, ANY, lambda _answer, _bound: None)


def _said(answer: GeneratedAnswer) -> tuple[object, ...]:
    """Everything but times, probabilities included."""
    counted = answer.prompt_tokens, answer.image_rows, answer.chosen_tokens, answer.forced_tokens
    return bytes(answer.data), answer.spans, answer.truncated, counted


def test_an_answer_is_the_same_whatever_was_recalled(
    open_one: Callable[[EngineCaches | None], LlamaEngine],
) -> None:
    plain = open_one(None)
    caches = EngineCaches(CacheLimits(50_000_000, 500_000_000))
    keeping = open_one(caches)
    asked = [("Read it.", 1), ("Read it.", 2), ("Describe it.", 1)]
    witness = [_said(_answer(plain, *one)) for one in asked]
    assert len(set(map(str, witness))) == 3
    first = [_answer(keeping, *one) for one in asked]
    # Of the second, what stands before the image is recalled; of all, once more, the image.
    counters, gauges = caches.numbers()
    assert counters["state_cache_hits"] == 1
    assert gauges["state_cache_bytes"] > 0
    calls = caches.counters.decode_calls
    again = [_answer(keeping, *one) for one in asked]
    assert [one.state_kept for one in first] == [False] * 3
    assert [one.state_kept for one in again] == [True] * 3
    assert [_said(one) for one in first] == witness
    assert [_said(one) for one in again] == witness
    assert caches.counters.decode_calls - calls == sum(one.answer_passes for one in again)
    # What is kept outlives the engine, and serves any of its sequences.
    keeping.close()
    reopened = open_one(caches)
    with reopened.sequence(ANY):
        third = _answer(reopened, *asked[1])
    assert (third.state_kept, _said(third)) == (True, witness[1])


def test_the_prompt_is_read_once_a_first_token_can_be_chosen(
    open_one: Callable[[EngineCaches | None], LlamaEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands after the image is fed with the first pass of the answer: it is reading, too."""
    moment = 0.0

    def slow(feed: Callable[..., None]) -> Callable[..., None]:
        def fed(model: LlamaSequence, *given: Any) -> None:
            nonlocal moment
            before = model.position
            feed(model, *given)
            moment += model.position > before

        return fed

    for name in ("evaluate_tokens", "evaluate_rows"):
        monkeypatch.setattr(LlamaSequence, name, slow(getattr(LlamaSequence, name)))
    engine = open_one(None)
    monkeypatch.setattr(answering, "time", SimpleNamespace(perf_counter=lambda: moment))
    answer = _answer(engine, "Read it.", 1)
    assert answer.answer_passes > 2
    assert answer.generate_seconds == answer.answer_passes - 1
    assert answer.prompt_seconds == moment - answer.generate_seconds > 2


def test_another_question_about_an_image_reads_the_question_alone(
    open_one: Callable[[EngineCaches | None], LlamaEngine],
) -> None:
    """Ours stand after the image, as a chat's may: whatever was asked first, its image is read."""
    caches = EngineCaches(CacheLimits(states_bytes=500_000_000))
    plain, keeping = open_one(None), open_one(caches)
    family = keeping.description.family
    chat = (ChatTurn("user", "", "And what is it for?"),)
    prompts = [compose_prompt(family, one) for one in (instruct(LAYOUT), instruct(BRIEF), chat)]
    answers = [_answer_to(one, keeping, 1) for one in prompts]
    assert [one.state_kept for one in answers] == [False, True, True]
    assert [_said(one) for one in answers] == [_said(_answer_to(one, plain, 1)) for one in prompts]


def test_a_state_larger_than_the_bound_is_not_kept(
    open_one: Callable[[EngineCaches | None], LlamaEngine],
) -> None:
    caches = EngineCaches(CacheLimits(states_bytes=1000))
    engine = open_one(caches)
    answers = [_answer(engine, "Read it.", 1) for _ in range(2)]
    assert [answer.state_kept for answer in answers] == [False, False]
    assert _said(answers[0]) == _said(answers[1])
    assert caches.states.bytes == 0


def test_another_models_states_and_broken_ones_are_not_taken(
    open_one: Callable[[EngineCaches | None], LlamaEngine],
) -> None:
    caches = EngineCaches(CacheLimits(states_bytes=500_000_000))
    engine = open_one(caches)
    with engine.sequence(ANY) as model:
        model.evaluate_tokens([65, 66, 67], ANY)
        model.remember("mine", ANY)
        assert model.recall("another", ANY) is False
        assert model.position == 3
        kept = caches.states.find("mine")
        assert kept is not None
        kept.data[:16] = 255
        assert model.recall("mine", ANY) is False
        assert (model.position, engine._context.held(model.number)) == (0, 0)
        model.evaluate_tokens([65], ANY)
        assert model.position == 1
