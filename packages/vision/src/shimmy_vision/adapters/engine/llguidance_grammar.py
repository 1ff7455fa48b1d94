"""llguidance behind the grammar ports: masks, forced tokens, and closing cut answers."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance._tokenizer import TokenizerWrapper
from numpy.typing import NDArray

from shimmy_vision.adapters.engine.llama_model import LlamaWeights
from shimmy_vision.domain.answer.finite_answers import has_finite_answer
from shimmy_vision.domain.answer.json_closing import close_json
from shimmy_vision.domain.answer.pattern_words import pattern_words
from shimmy_vision.domain.answer.schema_bounds import check_bounds
from shimmy_vision.errors import OutputError, SchemaError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.grammar import AnswerGrammar, JsonSchema

# Compact JSON: no token is spent on white space, and more of the text is forced.
_OPTIONS = {"whitespace_flexible": False}
# What most tokens are made of, computed once. One such set answers as fast as the library's usual
# four do; each costs 20 MB and 0.2 s with a vocabulary of 250,000 tokens.
_LETTERS = r'[^"\\\x00-\x1F\x7F]{1,30}'
_BYTES = 256
_CHECK_SECONDS, _CLOSE_SECONDS = 0.2, 3.0
_VERDICTS = 64


class LlguidanceAnswer:
    """One answer in the making: the ``AnswerGrammar`` port."""

    def __init__(self, matcher: LLMatcher, end_tokens: frozenset[int]) -> None:
        self._matcher = matcher
        self._end_tokens = end_tokens

    def allowed(self) -> NDArray[np.bool_]:
        bias = np.frombuffer(self._matcher.compute_logit_bias(), dtype=np.uint8)
        self._check()
        return np.asarray(bias != 0)

    def forced_tokens(self) -> list[int]:
        forced: list[int] = self._matcher.compute_ff_tokens()
        self._check()
        return [token for token in forced if token not in self._end_tokens]

    def consume(self, tokens: list[int]) -> None:
        if not self._matcher.consume_tokens(tokens):
            self._check()
            raise OutputError("grammar-broken", "The grammar refused a token.")

    def is_finished(self) -> bool:
        return bool(self._matcher.is_stopped()) and not self._matcher.is_error()

    def _check(self) -> None:
        # Where it gave up it would allow nothing but the end, in the middle of the answer.
        if self._matcher.is_error():
            reason = _reason(self._matcher)
            raise OutputError("grammar-broken", f"The grammar gave up: {reason}")


class LlguidanceCompiler:
    """Grammars over one model's vocabulary: the ``GrammarCompiler`` port."""

    def __init__(self, weights: LlamaWeights) -> None:
        """Make one a model: its vocabulary takes 0.7 s for 250,000 tokens, on a thread of its own,

        for which the first answer waits if need be. The weights must stay until ``close``.
        """
        self._weights = weights  # its vocabulary must outlive the tokenizer
        self._tokenizer: Future[LLTokenizer] = Future()
        # No daemon: at the interpreter's end the weights go, and it reads them.
        self._reader = threading.Thread(target=self._read, name="vocabulary")
        self._reader.start()

    def compile(self, schema: JsonSchema) -> AnswerGrammar:
        end_tokens = frozenset(self._weights.end_tokens)
        return LlguidanceAnswer(_matcher(self._tokenizer.result(), schema), end_tokens)

    def close(self) -> None:
        """From now on nothing reads the weights."""
        self._reader.join()

    def _read(self) -> None:
        try:
            self._tokenizer.set_result(_read_vocabulary(self._weights))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self._tokenizer.set_exception(error)


def _read_vocabulary(weights: LlamaWeights) -> LLTokenizer:
    control = weights.control_tokens
    tokens = [
        b"\xff" + piece if token in control else piece for token, piece in enumerate(weights.pieces)
    ]
    return LLTokenizer.from_llamacpp(
        tokens=tokens,
        vocab_ptr=weights.vocabulary,
        tokenize_fptr=weights.library.c.address_of("llama_tokenize"),
        eos_token=list(weights.end_tokens),
        slices=[_LETTERS],
    )


class LlguidanceSchemas:
    """Schemas over single bytes, without a model: the ``SchemaGrammar`` port.

    What was found of the last schemas is remembered; safe to use from several threads.
    """

    def __init__(self) -> None:
        self._tokenizer = LLTokenizer(TokenizerWrapper(_ByteVocabulary()))
        self._verdicts: OrderedDict[str, _Verdict] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, schema: JsonSchema, cancellation: Cancellation) -> None:
        refused = self._judge(schema, cancellation).refused
        if refused is not None:
            raise refused.again()

    def close(self, schema: JsonSchema, prefix: bytes, cancellation: Cancellation) -> bytes:
        patience = _Patience(_CLOSE_SECONDS, cancellation)
        grammar, words = self._bytes_under(schema), pattern_words(schema)
        closed = close_json(prefix, grammar, patience.lasts, words).whole
        if closed is None:
            closed = self._judge(schema, cancellation).shortest
        if closed is None:
            raise SchemaError(
                "answer-not-closed",
                "The answer was cut, and no short ending that follows the schema was found.",
                hint="Raise --max-tokens, or loosen patterns and numeric bounds of the schema.",
            )
        return closed

    def _judge(self, schema: JsonSchema, cancellation: Cancellation) -> _Verdict:
        name = hashlib.sha256(json.dumps(schema).encode()).hexdigest()
        with self._lock:
            known = self._verdicts.get(name)
            if known is not None:
                self._verdicts.move_to_end(name)
                return known
        verdict = self._find_out(schema, cancellation)
        with self._lock:
            self._verdicts[name] = verdict
            while len(self._verdicts) > _VERDICTS:
                self._verdicts.popitem(last=False)
        return verdict

    def _find_out(self, schema: JsonSchema, cancellation: Cancellation) -> _Verdict:
        try:
            check_bounds(schema)
            grammar = self._bytes_under(schema)
            if not has_finite_answer(schema):
                raise _unsatisfiable()
        except SchemaError as error:
            return _Verdict(error, None)
        patience = _Patience(_CHECK_SECONDS, cancellation)
        closing = close_json(b"", grammar, patience.lasts, pattern_words(schema))
        if closing.proven and not grammar.gave_up:
            return _Verdict(_unsatisfiable(), None)
        if closing.whole is None and grammar.gave_up:
            return _Verdict(_too_open(), None)
        # Where none was found in time there may be one: a model that writes it needs no search.
        return _Verdict(None, closing.whole)

    def _bytes_under(self, schema: JsonSchema) -> _ByteMatcher:
        return _ByteMatcher(_matcher(self._tokenizer, schema))


class _Verdict(NamedTuple):
    """What is known of a schema: why it is refused, else a short answer if one was found."""

    refused: SchemaError | None
    shortest: bytes | None


class _Patience:
    """Lasts for so many seconds; a thrown switch raises."""

    def __init__(self, seconds: float, cancellation: Cancellation) -> None:
        self._end, self._cancellation = time.monotonic() + seconds, cancellation

    def lasts(self) -> bool:
        self._cancellation.check()
        return time.monotonic() < self._end


def _too_open() -> SchemaError:
    return SchemaError(
        "schema-unsupported",
        "The schema cannot be honoured: it leaves more ways open at once than can be followed.",
        hint="Let anyOf choose among fewer objects and arrays, or put them apart.",
    )


def _unsatisfiable() -> SchemaError:
    return SchemaError(
        "schema-unsatisfiable",
        "No finite answer satisfies the schema.",
        hint="Look for required properties that refer back to their own schema.",
    )


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
        self._matcher, self._fresh = matcher, matcher.deep_copy()
        self._data = bytearray()
        self._choices: dict[bytes, tuple[int, ...]] = {}
        self.gave_up = False

    def allowed(self) -> Sequence[int]:
        mask = bytes(self._matcher.compute_logit_bias())
        self._recover()
        choices = self._choices.get(mask)
        if choices is None:
            found = np.flatnonzero(np.frombuffer(mask, dtype=np.uint8)[:_BYTES])
            choices = self._choices[mask] = tuple(found.tolist())
        return choices

    def is_complete(self) -> bool:
        return bool(self._matcher.is_accepting())

    def push(self, data: bytes) -> int:
        taken = int(self._matcher.try_consume_tokens(list(data)))
        if self._matcher.is_error():
            taken = 0
        self._data += data[:taken]
        self._recover()
        return taken

    def pop(self, count: int) -> None:
        if count:
            del self._data[-count:]
            self._matcher.rollback(count)
            self._recover()

    def _recover(self) -> None:
        """A matcher that met a limit of its own answers nothing any more."""
        if self._matcher.is_error():
            self.gave_up = True
            self._matcher = self._fresh.deep_copy()
            self._matcher.try_consume_tokens(list(self._data))


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
        raise SchemaError(
            "schema-unsupported",
            f"The schema cannot be honoured: {_reason(matcher)}",
            hint="Remove or rewrite the named feature.",
        )
    return matcher


def _reason(matcher: LLMatcher) -> str:
    """Why ``matcher`` gave up, without its dump of what was written so far."""
    told = str(matcher.get_error()).partition("<state>")[0].partition("\u27e6")[0]
    return " ".join(told.split())
