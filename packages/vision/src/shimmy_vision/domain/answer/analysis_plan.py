"""Which answers to generate from which part of the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, assert_never

from shimmy_vision.domain.answer import answer_schemas, prompts
from shimmy_vision.domain.answer.analysis_request import (
    ChatQuestion,
    ChatTurn,
    CustomQuestion,
    Mode,
    Question,
    SliceWish,
    StandardQuestion,
)
from shimmy_vision.domain.image.image_plan import ImagePlan, Tile
from shimmy_vision.domain.image.slice_sharing import SliceView, overview_only

AnswerKind: TypeAlias = Literal["full", "scene", "text", "layout", "brief", "custom"]

_DEFAULT_TOKENS: dict[AnswerKind, int] = {
    "full": 2048,
    "scene": 1024,
    "text": 1536,
    "layout": 1024,
    "brief": 256,
    "custom": 1024,
}

# Prompt, markup and ten slices of 64 rows take under 1,100 positions; see docs/architecture.md.
_POSITIONS_BESIDES_ANSWER = 1536
_CONTEXT_STEP = 1024


@dataclass(frozen=True, slots=True)
class AnswerPass:
    """One generated answer: the reply to ``turns`` about ``tile`` under ``schema``.

    ``view`` is how the tile's slices are seen; of a ``blank`` one it is known that it has no text.
    """

    kind: AnswerKind
    tile: Tile
    turns: tuple[ChatTurn, ...]
    schema: dict[str, Any]
    max_tokens: int
    view: SliceView = "whole"
    blank: bool = False


def plan_passes(
    question: Question,
    plan: ImagePlan,
    max_tokens: int | None,
    slices: SliceWish = "all",
    is_blank: Callable[[Tile], bool] = lambda _tile: False,
) -> tuple[AnswerPass, ...]:
    """Text is read tile by tile at full resolution; the scene is judged from the whole image.

    ``is_blank`` is asked only of tiles whose text is wanted, and only where ``slices`` may be
    spared.
    """
    passes = _every_pass(question, plan, max_tokens)
    if slices == "all":
        return passes
    return tuple(_sparing(one, is_blank) for one in passes)


def _sparing(one: AnswerPass, is_blank: Callable[[Tile], bool]) -> AnswerPass:
    """No slice is looked at that cannot tell anything that is asked for."""
    match one.kind:
        case "brief" if one.tile.plan.slices:
            tile = Tile(one.tile.box, overview_only(one.tile.plan))
            return replace(one, tile=tile, view="overview")
        case "text":
            return replace(one, view="sparing", blank=is_blank(one.tile))
        case _:
            return replace(one, view="sparing")


def _every_pass(
    question: Question, plan: ImagePlan, max_tokens: int | None
) -> tuple[AnswerPass, ...]:
    match question:
        case CustomQuestion(prompt=prompt, schema=schema):
            asked = prompts.instruct(prompt or prompts.FILL_SCHEMA)
            wanted = schema or answer_schemas.FREE_ANSWER
            return (_pass("custom", plan.overview, asked, wanted, max_tokens),)
        case ChatQuestion(turns=turns, schema=schema):
            # An empty schema is one, too: any JSON.
            wanted = answer_schemas.CHAT_ANSWER if schema is None else schema
            return (_pass("custom", plan.overview, turns, wanted, max_tokens),)
        case StandardQuestion(mode=mode):
            return _standard_passes(mode, plan, max_tokens)
        case _:
            assert_never(question)


def _standard_passes(mode: Mode, plan: ImagePlan, max_tokens: int | None) -> tuple[AnswerPass, ...]:
    def whole(kind: AnswerKind, instructions: str, schema: dict[str, Any]) -> AnswerPass:
        return _pass(kind, plan.overview, prompts.instruct(instructions), schema, max_tokens)

    texts = tuple(
        _pass("text", tile, prompts.instruct(prompts.TEXT), answer_schemas.TEXT_ANSWER, max_tokens)
        for tile in plan.tiles
    )
    match mode:
        case "full" if len(plan.tiles) == 1:
            return (whole("full", prompts.FULL, answer_schemas.FULL_ANSWER),)
        case "full":
            return (whole("scene", prompts.SCENE, answer_schemas.SCENE_ANSWER), *texts)
        case "ocr":
            return texts
        case "layout":
            return (whole("layout", prompts.LAYOUT, answer_schemas.LAYOUT_ANSWER),)
        case "brief":
            return (whole("brief", prompts.BRIEF, answer_schemas.BRIEF_ANSWER),)
        case _:
            assert_never(mode)


def _pass(
    kind: AnswerKind,
    tile: Tile,
    turns: tuple[ChatTurn, ...],
    schema: dict[str, Any],
    max_tokens: int | None,
) -> AnswerPass:
    return AnswerPass(kind, tile, turns, schema, max_tokens or _DEFAULT_TOKENS[kind])


def context_size(question: Question, max_tokens: int | None) -> int:
    """How many positions hold prompt, image and any one answer, before anything is loaded."""
    needed = _largest_answer(question, max_tokens) + _POSITIONS_BESIDES_ANSWER
    return -(-needed // _CONTEXT_STEP) * _CONTEXT_STEP


def _largest_answer(question: Question, max_tokens: int | None) -> int:
    if max_tokens is not None:
        return max_tokens
    kinds: tuple[AnswerKind, ...]
    match question:
        case CustomQuestion() | ChatQuestion():
            kinds = ("custom",)
        case StandardQuestion(mode=mode):
            kinds = _kinds(mode)
        case _:
            assert_never(question)
    return max(_DEFAULT_TOKENS[kind] for kind in kinds)


def _kinds(mode: Mode) -> tuple[AnswerKind, ...]:
    match mode:
        case "full":
            return ("full", "scene", "text")
        case "ocr":
            return ("text",)
        case "layout" | "brief":
            return (mode,)
        case _:
            assert_never(mode)
