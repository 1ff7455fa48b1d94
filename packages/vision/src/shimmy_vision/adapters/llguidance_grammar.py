"""llguidance behind the grammar ports: masks, forced tokens, and closing cut answers."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance._tokenizer import TokenizerWrapper
from numpy.typing import NDArray

from shimmy_vision.adapters.llama_model import LlamaWeights
from shimmy_vision.domain.answer.json_closing import close_json
from shimmy_vision.errors import OutputError, SchemaError
from shimmy_vision.ports.grammar import AnswerGrammar, JsonSchema

# Compact JSON: no token is spent on white space, and more of the text is forced.
_OPTIONS = {"whitespace_flexible": False}
_BYTES = 256


class LlguidanceAnswer:
    """One answer in the making: the ``AnswerGrammar`` port."""

    def __init__(self, matcher: LLMatcher, end_tokens: frozenset[int]) -> None:
        self._matcher = matcher
        self._end_tokens = end_tokens

    def allowed(self) -> NDArray[np.bool_]:
        bias = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)
        return np.asarray(bias != 0)

    def forced_tokens(self) -> list[int]:
        forced: list[int] = self._matcher.compute_ff_tokens()
        return [token for token in forced if token not in self._end_tokens]

    def consume(self, tokens: list[int]) -> None:
        if not self._matcher.consume_tokens(tokens):
            raise OutputError("grammar-broken", f"The grammar refused: {self._matcher.get_error()}")

    def is_finished(self) -> bool:
        return bool(self._matcher.is_stopped())


class LlguidanceCompiler:
    """Grammars over one model's vocabulary: the ``GrammarCompiler`` port."""

    def __init__(self, weights: LlamaWeights) -> None:
        """Takes about 0.4 s for 150,000 tokens: make one a model."""
        control = weights.control_tokens
        tokens = [
            b"\xff" + piece if token in control else piece
            for token, piece in enumerate(weights.pieces)
        ]
        self._end_tokens = frozenset(weights.end_tokens)
        self._weights = weights  # its vocabulary must outlive the tokenizer
        self._tokenizer = LLTokenizer.from_llamacpp(
            tokens=tokens,
            vocab_ptr=weights.vocabulary,
            tokenize_fptr=weights.library.c.address_of("llama_tokenize"),
            eos_token=list(weights.end_tokens),
            slices=LLTokenizer.json_slices(),
        )

    def compile(self, schema: JsonSchema) -> AnswerGrammar:
        return LlguidanceAnswer(_matcher(self._tokenizer, schema), self._end_tokens)


class LlguidanceSchemas:
    """Schemas over single bytes, without a model: the ``SchemaGrammar`` port."""

    def __init__(self) -> None:
        self._tokenizer = LLTokenizer(TokenizerWrapper(_ByteVocabulary()))

    def check(self, schema: JsonSchema) -> None:
        _matcher(self._tokenizer, schema)
        self.close(schema, b"")

    def close(self, schema: JsonSchema, prefix: bytes) -> bytes:
        closed = close_json(prefix, _ByteMatcher(_matcher(self._tokenizer, schema)))
        if closed is None:
            raise SchemaError(
                "schema-unsatisfiable",
                "No finite answer satisfies the schema.",
                hint="Look for required properties that refer back to their own schema.",
            )
        return closed


class _ByteVocabulary:
    eos_token_id = _BYTES
    bos_token_id = None
    tokens: Sequence[bytes] = (*(bytes([value]) for value in range(_BYTES)), b"<end>")
    special_token_ids: Sequence[int] = (_BYTES,)

    def __call__(self, data: bytes) -> list[int]:
        return list(data)


class _ByteMatcher:
    """``domain.answer.json_closing.ByteGrammar`` over llguidance."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    def allowed(self) -> Sequence[int]:
        mask = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)[:_BYTES]
        return [int(value) for value in np.flatnonzero(mask)]

    def is_complete(self) -> bool:
        return bool(self._matcher.is_accepting())

    def push(self, data: bytes) -> int:
        return int(self._matcher.try_consume_tokens(list(data)))

    def pop(self, count: int) -> None:
        if count:
            self._matcher.rollback(count)


def _matcher(tokenizer: LLTokenizer, schema: JsonSchema) -> LLMatcher:
    """The one place where llguidance's verdict on a schema becomes ours."""
    try:
        grammar = LLMatcher.grammar_from_json_schema(json.dumps(schema), overrides=_OPTIONS)
    except (TypeError, ValueError) as error:
        raise SchemaError(
            "schema-invalid",
            f"The schema is not a JSON Schema object: {error}",
            hint='Start from: {"type": "object", "properties": {...}, "required": [...]}',
        ) from error
    matcher = LLMatcher(tokenizer, grammar, log_level=0)
    if matcher.is_error():
        reason = str(matcher.get_error()).strip().splitlines()
        raise SchemaError(
            "schema-unsupported",
            f"The schema cannot be honoured: {' '.join(part.strip() for part in reason)}",
            hint="Remove or rewrite the named feature.",
        )
    return matcher
