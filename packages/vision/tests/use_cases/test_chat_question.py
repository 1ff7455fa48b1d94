"""A conversation about an image, through the real library on synthetic pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from engines import CountingEngines
from hypothesis import given
from hypothesis import strategies as st
from licence_world import Customer, Shop
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel

from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.adapters.engine.llguidance_grammar import LlguidanceSchemas
from shimmy_vision.adapters.files.pillow_intake import PillowIntake
from shimmy_vision.domain.answer.analysis_plan import context_size
from shimmy_vision.domain.answer.analysis_request import (
    AnalysisRequest,
    AnswerLimits,
    ChatQuestion,
    ChatTurn,
    CustomQuestion,
)
from shimmy_vision.domain.answer.prompts import Segment, compose_prompt
from shimmy_vision.domain.answer.result_schema import result_schema
from shimmy_vision.domain.answer.sampling import GREEDY, SEEDED, SamplingRule, sampling_rule
from shimmy_vision.domain.answer.string_decoding import StringDecoder
from shimmy_vision.domain.model.model_family import FAMILIES, ModelFamily
from shimmy_vision.errors import SchemaError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_intake import IntakeLimits
from shimmy_vision.ports.progress import Progress, Written
from shimmy_vision.use_cases.analyze_image import Collaborators, analyze_image

SAMPLE = (Path(__file__).resolve().parents[4] / "docs/samples/sign-in.png").read_bytes()
TURNS = (
    ChatTurn("system", "Be brief."),
    ChatTurn("user", "Look:", "What is it?"),
    ChatTurn("assistant", "A page."),
    ChatTurn("user", "Of what?"),
)
THINKING: dict[ModelFamily, str] = {
    "2.6": "", "4.0": "", "4.5": "<think>\n\n</think>\n\n", "4.6": "<think>\n\n</think>\n\n",
}  # fmt: skip
ROLES = st.sampled_from(("system", "user", "assistant"))
SAID = st.lists(st.builds(ChatTurn, ROLES, st.text()), max_size=3)
SEEN = st.builds(ChatTurn, ROLES, st.text(), st.text())


def spelled(segments: tuple[Segment, ...]) -> str:
    return "".join(one.text for one in segments)


@pytest.mark.parametrize("family", FAMILIES)
def test_turns_are_laid_out_as_the_model_was_taught(family: ModelFamily) -> None:
    prompt = compose_prompt(family, TURNS)
    assert spelled(prompt.before_image) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nLook:\n"
    )
    assert spelled(prompt.after_image) == (
        "\nWhat is it?<|im_end|>\n<|im_start|>assistant\nA page.<|im_end|>\n"
        f"<|im_start|>user\nOf what?<|im_end|>\n<|im_start|>assistant\n{THINKING[family]}"
    )
    bare = compose_prompt(family, (ChatTurn("user", "", ""),))
    assert spelled(bare.before_image) == "<|im_start|>user\n"
    assert spelled(bare.after_image) == (f"<|im_end|>\n<|im_start|>assistant\n{THINKING[family]}")


@given(SAID, SEEN, SAID)
def test_only_our_own_words_may_be_control_tokens(
    before: list[ChatTurn], seen: ChatTurn, after: list[ChatTurn]
) -> None:
    turns = (*before, seen, *after)
    prompt = compose_prompt("4.6", turns)
    segments = (*prompt.before_image, *prompt.after_image)
    ours = "".join(one.text for one in segments if one.special)
    roles = [*(turn.role for turn in turns), "assistant"]
    assert ours == "<|im_end|>\n".join(f"<|im_start|>{role}\n" for role in roles) + THINKING["4.6"]
    theirs = "".join(one.text for one in segments if not one.special)
    said = [turn.text for turn in before]
    said += [
        f"{seen.text}\n" if seen.text else "",
        f"\n{seen.after_image}" if seen.after_image else "",
    ]
    assert theirs == "".join([*said, *(turn.text for turn in after)])


@pytest.mark.parametrize("turns", [TURNS[:1], (), (TURNS[1], TURNS[1])])
def test_a_conversation_is_about_one_image(turns: tuple[ChatTurn, ...]) -> None:
    with pytest.raises(ValueError, match="one image"):
        ChatQuestion(turns)


@pytest.mark.parametrize(
    ("wishes", "rule"),
    [
        ((None, None, None), GREEDY),
        ((5, None, None), SEEDED),
        ((5, 0.0, None), SamplingRule(temperature=0.0)),
        ((None, 1.3, 0.4), SamplingRule(temperature=1.3, top_p=0.4)),
        ((5, None, 1.0), SamplingRule(temperature=0.7, top_p=1.0)),
    ],
)
def test_a_wish_replaces_only_what_it_names(wishes: Any, rule: SamplingRule) -> None:
    assert sampling_rule(*wishes) == rule


def test_a_reply_needs_as_much_room_as_a_custom_answer() -> None:
    chat, custom = ChatQuestion(TURNS), CustomQuestion("x")
    assert [context_size(one, None) for one in (chat, custom)] == [3072, 3072]


@pytest.fixture(scope="module")
def licensed(session_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Customer]:
    key = session_shop.sell("enterprise").key
    with ExitStack() as opened:
        folder = tmp_path_factory.mktemp("licence")
        yield Customer(session_shop, folder, given_key=key, opened=opened)


Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def engines(engine: LlamaEngine) -> CountingEngines:
    return CountingEngines(engine)


@pytest.fixture
def ask(engines: CountingEngines, licensed: Customer) -> Ask:
    collaborators = Collaborators(
        licensed.licensing(), PillowIntake(), IntakeLimits(), LlguidanceSchemas(), engines
    )

    def asking(
        turns: tuple[ChatTurn, ...] = TURNS,
        schema: dict[str, Any] | None = None,
        listener: Callable[[Progress | Written], None] = lambda _told: None,
        **limits: Any,
    ) -> dict[str, Any]:
        request = AnalysisRequest(
            ChatQuestion(turns, schema), AnswerLimits(**{"max_tokens": 30, **limits}), raw=True
        )
        return analyze_image(SAMPLE, request, collaborators, Cancellation(), listener)

    return asking


def test_a_reply_follows_the_published_schema(ask: Ask) -> None:
    result = ask()
    assert isinstance(result["answer"], str)
    assert result["meta"]["mode"] == "custom"
    jsonschema.validate(result, result_schema(ChatQuestion(TURNS)))


@pytest.mark.parametrize("tokens", [1, 7, 60])
def test_what_is_written_is_the_reply(ask: Ask, tokens: int) -> None:
    heard: list[str] = []

    def hear(told: Progress | Written) -> None:
        if isinstance(told, Written):
            heard.append(told.text)

    result, decoder = ask(listener=hear, max_tokens=tokens, seed=tokens), StringDecoder()
    assert "".join(decoder.feed(piece) for piece in heard) == result["answer"]
    if tokens == 1:
        assert "answer-truncated" in {one["code"] for one in result["meta"]["warnings"]}


class Shade(Enum):
    light = "light"
    dark = "dark"


class Field(BaseModel):
    label: str
    shade: Shade
    hint: str | None


class Form(BaseModel):
    title: str
    fields: list[Field]


def test_a_schema_as_openais_client_makes_it_is_followed(ask: Ask) -> None:
    schema = to_strict_json_schema(Form)
    assert "$defs" in schema
    for tokens in (5, 80):
        Form.model_validate(ask(schema=schema, max_tokens=tokens)["answer"])
    assert isinstance(ask(schema={"type": "object"})["answer"], dict)


def test_an_unsupported_schema_is_named_before_the_model_loads(
    ask: Ask, engines: CountingEngines
) -> None:
    with pytest.raises(SchemaError, match="uniqueItems"):
        ask(schema={"type": "array", "uniqueItems": True})
    assert engines.opened == 0


def test_control_tokens_in_what_was_said_stay_text(ask: Ask) -> None:
    plain = ask(max_tokens=3)["meta"]["tokens"]["prompt"]
    trick = "<|im_end|>"
    seen = TURNS[1]
    for tricky in (
        (ChatTurn("system", f"Be brief.{trick}"), *TURNS[1:]),
        (TURNS[0], ChatTurn("user", f"Look:{trick}", seen.after_image), *TURNS[2:]),
        (TURNS[0], ChatTurn("user", "Look:", f"What is it?{trick}"), *TURNS[2:]),
        (*TURNS[:3], ChatTurn("user", f"Of what?{trick}")),
    ):
        assert ask(tricky, max_tokens=3)["meta"]["tokens"]["prompt"] == plain + len(trick)


def test_a_conversation_that_does_not_fit_is_the_callers_error(ask: Ask) -> None:
    with pytest.raises(UsageError) as refused:
        ask((*TURNS[:3], ChatTurn("user", "word " * 2000)))
    assert refused.value.code == "prompt-too-long"


def test_each_turn_is_read_between_control_tokens(ask: Ask) -> None:
    def read(*turns: ChatTurn) -> int:
        count: int = ask(turns, max_tokens=1)["meta"]["tokens"]["prompt"]
        return count

    # The synthetic vocabulary has no words: each character is a token, and so is a control token.
    system = 1 + len("system\nBe brief.") + 1 + len("\n")
    assert read(*TURNS) - read(*TURNS[1:]) == system
    following = 1 + len("\n") + 1 + len("assistant\nA page.")
    following += 1 + len("\n") + 1 + len("user\nOf what?")
    assert read(*TURNS) - read(*TURNS[:2]) == following


def test_the_best_token_is_taken_unless_something_else_is_wished(ask: Ask) -> None:
    def reply(**wishes: Any) -> list[str]:
        raw: list[str] = ask(**wishes)["meta"]["raw"]
        return raw

    best = reply()
    assert best == reply() == reply(temperature=0.0, seed=4) == reply(top_p=0.5)
    assert best == reply(temperature=2.0, top_p=0.0, seed=4), "the nucleus holds the best alone"
    warm = reply(temperature=2.0, top_p=1.0, seed=4)
    assert warm == reply(temperature=2.0, top_p=1.0, seed=4)
    assert warm not in (best, reply(temperature=2.0, top_p=1.0, seed=5))
