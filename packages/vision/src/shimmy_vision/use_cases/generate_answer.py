"""One answer under one schema: prompt in, tokens out, forced runs batched."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from shimmy_vision.domain.answer.answer_reading import Span
from shimmy_vision.domain.answer.prompts import Prompt, Segment
from shimmy_vision.domain.answer.sampling import SamplingRule, choose_token
from shimmy_vision.domain.answer.state_key import state_key
from shimmy_vision.errors import OutputError, UsageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.grammar import AnswerGrammar
from shimmy_vision.ports.image_encoder import EmbeddingRows, EncodedTile, MarkupTokens
from shimmy_vision.ports.language_model import LanguageModel

# Fewer tokens are read as quickly as a state is copied.
_LONG_OPENING = 32


@dataclass(frozen=True, slots=True)
class AnswerOrder:
    """What to generate and within which bounds; ``model_sha256`` is for what may be recalled."""

    model_sha256: str
    prompt: Prompt
    tile: EncodedTile
    grammar: AnswerGrammar
    rule: SamplingRule
    seed: int
    max_tokens: int
    skip_forced: bool = True


@dataclass(slots=True)
class GeneratedAnswer:
    """The answer's bytes and how they came about; ``truncated`` if it did not end by itself,

    ``broken_off`` if that was because its grammar gave up, ``state_kept`` if its image need not be
    read again. The prompt is read once there are scores for a first token (``scored_at``, by
    ``time.perf_counter``): what stands after the image is only fed with what the schema dictates.
    """

    data: bytearray = field(default_factory=bytearray)
    spans: list[Span] = field(default_factory=list)
    truncated: bool = False
    broken_off: bool = False
    state_kept: bool = False
    prompt_tokens: int = 0
    image_rows: int = 0
    chosen_tokens: int = 0
    forced_tokens: int = 0
    answer_passes: int = 0
    scored_at: float | None = None
    prompt_seconds: float = 0.0
    generate_seconds: float = 0.0

    @property
    def tokens(self) -> int:
        return self.chosen_tokens + self.forced_tokens


def generate_answer(
    model: LanguageModel,
    order: AnswerOrder,
    cancellation: Cancellation,
    on_token: Callable[[GeneratedAnswer, int], None],
) -> GeneratedAnswer:
    """Run one sequence from a clean state. ``on_token`` gets (the answer so far, its bound).

    Raises StoppedError on cancellation and LibraryError if the decoder fails.
    """
    answer = GeneratedAnswer()
    started = time.perf_counter()
    pending = _read_prompt(model, order, answer, cancellation)
    fed, before = time.perf_counter(), model.forward_passes
    try:
        _write(model, order, answer, pending, cancellation, on_token)
    except OutputError:
        # The grammar's own limits: what is written so far is good, and can be closed.
        answer.truncated = answer.broken_off = True
    read = fed if answer.scored_at is None else answer.scored_at
    answer.prompt_seconds = read - started
    answer.generate_seconds = time.perf_counter() - read
    answer.answer_passes = model.forward_passes - before
    return answer


def _read_prompt(
    model: LanguageModel, order: AnswerOrder, answer: GeneratedAnswer, cancellation: Cancellation
) -> list[int]:
    """Feed everything up to the image's last rows; what is left joins the first forced run.

    What stands before the image is fed apart from it, so that the same prompt is computed in the
    same batches whether or not a part of it is recalled.
    """
    model.reset()
    opening = _tokens(model, order.prompt.before_image, first=True)
    closing = _tokens(model, order.prompt.after_image, first=False)
    answer.prompt_tokens = len(opening) + len(closing)
    for part in order.tile.parts:
        match part:
            case MarkupTokens(tokens=tokens):
                answer.prompt_tokens += len(tokens)
            case EmbeddingRows(rows=rows):
                answer.image_rows += len(rows)
    _check_room(model, answer)
    memory = _Memory(model, order, opening, cancellation)
    answer.state_kept = memory.recall_image()
    if not answer.state_kept:
        if not memory.recall_opening():
            model.evaluate_tokens(opening, cancellation)
            memory.remember_opening()
        _feed_image(model, order.tile, cancellation)
        memory.remember_image()
    return _split_tail(order.tile)[1] + closing


def _feed_image(model: LanguageModel, tile: EncodedTile, cancellation: Cancellation) -> None:
    """Everything up to the last rows."""
    pending: list[int] = []
    for part in _split_tail(tile)[0]:
        match part:
            case MarkupTokens(tokens=tokens):
                pending.extend(tokens)
            case EmbeddingRows():
                model.evaluate_tokens(pending, cancellation)
                pending = []
                model.evaluate_rows(part, cancellation)


def _split_tail(
    tile: EncodedTile,
) -> tuple[tuple[MarkupTokens | EmbeddingRows, ...], list[int]]:
    """The parts up to the last rows, and the tokens after them."""
    end, tail = len(tile.parts), list[int]()
    while end and isinstance(part := tile.parts[end - 1], MarkupTokens):
        tail, end = [*part.tokens, *tail], end - 1
    return tile.parts[:end], tail


class _Memory:
    """What the model remembers of prompts, where the tile has a digest: all up to the image's last

    rows, and what stands before the image where that is long, as a caller's rules may be.
    """

    def __init__(
        self,
        model: LanguageModel,
        order: AnswerOrder,
        opening: list[int],
        cancellation: Cancellation,
    ) -> None:
        self._model, self._cancellation = model, cancellation
        self._opening = self._image = ""
        if order.tile.digest:
            if len(opening) >= _LONG_OPENING:
                self._opening = state_key(order.model_sha256, opening)
            self._image = state_key(order.model_sha256, opening, order.tile.digest)

    def recall_opening(self) -> bool:
        return self._recall(self._opening)

    def recall_image(self) -> bool:
        return self._recall(self._image)

    def remember_opening(self) -> None:
        self._remember(self._opening)

    def remember_image(self) -> None:
        self._remember(self._image)

    def _recall(self, key: str) -> bool:
        return bool(key) and self._model.recall(key, self._cancellation)

    def _remember(self, key: str) -> None:
        if key:
            self._model.remember(key, self._cancellation)


def _check_room(model: LanguageModel, answer: GeneratedAnswer) -> None:
    taken = answer.prompt_tokens + answer.image_rows
    if taken >= model.context_size:
        raise UsageError(
            "prompt-too-long",
            f"Prompt and image take {taken} positions; the context has {model.context_size}.",
            hint="Shorten --prompt, or raise --max-tokens: the context grows with it.",
        )


def _tokens(model: LanguageModel, segments: tuple[Segment, ...], *, first: bool) -> list[int]:
    tokens: list[int] = []
    for segment in segments:
        is_first = first and not tokens
        tokens += model.tokenize(segment.text, special=segment.special, first=is_first)
    return tokens


def _write(
    model: LanguageModel,
    order: AnswerOrder,
    answer: GeneratedAnswer,
    pending: list[int],
    cancellation: Cancellation,
    on_token: Callable[[GeneratedAnswer, int], None],
) -> None:
    rng = np.random.default_rng(order.seed)
    room = model.context_size - model.position - len(pending)
    bound = max(0, min(order.max_tokens, room))
    while answer.tokens < bound:
        pending += _take_forced(model, order, answer, bound)
        if order.grammar.is_finished() or answer.tokens >= bound:
            break
        model.evaluate_tokens(pending, cancellation)
        if answer.scored_at is None:
            answer.scored_at = time.perf_counter()
        choice = choose_token(model.logits(), order.grammar.allowed(), order.rule, rng)
        if model.is_end(choice.token):
            return
        order.grammar.consume([choice.token])
        start = len(answer.data)
        answer.data += model.token_bytes(choice.token)
        answer.spans.append(Span(start, len(answer.data), choice.probability))
        answer.chosen_tokens += 1
        pending = [choice.token]
        on_token(answer, bound)
        if order.grammar.is_finished():
            return
    answer.truncated = not order.grammar.is_finished()


def _take_forced(
    model: LanguageModel, order: AnswerOrder, answer: GeneratedAnswer, bound: int
) -> list[int]:
    """The run the schema dictates from here, consumed; it costs no pass of its own."""
    if not order.skip_forced:
        return []
    forced = order.grammar.forced_tokens()[: bound - answer.tokens]
    if forced:
        order.grammar.consume(forced)
        answer.data += b"".join(model.token_bytes(token) for token in forced)
        answer.forced_tokens += len(forced)
    return forced
