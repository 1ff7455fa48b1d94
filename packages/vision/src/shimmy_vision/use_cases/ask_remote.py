"""One answer from a model that another machine runs, held against its schema here."""

from __future__ import annotations

import time

from shimmy_vision.domain.answer.chat_pieces import squeeze_json
from shimmy_vision.errors import LibraryError, SchemaError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.grammar import SchemaGrammar
from shimmy_vision.ports.progress import Progress, ProgressListener
from shimmy_vision.ports.remote_model import RemoteAnswer, RemoteModel, RemoteQuestion
from shimmy_vision.use_cases.generate_answer import GeneratedAnswer

# A cut within an escape or a character may be closed before it.
_LOOSE_BYTES = 16


def ask_remote(
    model: RemoteModel,
    question: RemoteQuestion,
    schemas: SchemaGrammar,
    cancellation: Cancellation,
    listener: ProgressListener,
) -> GeneratedAnswer:
    """The answer as ``generate_answer`` gives it: compact JSON that follows the schema, or its

    beginning where it met its bound. Raises LibraryError remote-answer-invalid where the server did
    not hold to the schema, and what the model's ``ask`` raises.
    """
    started = time.perf_counter()

    def hear(tokens: int) -> None:
        listener(Progress("generate", min(tokens, question.max_tokens), question.max_tokens))

    told = model.ask(question, cancellation, hear)
    data, spans = squeeze_json(told.data, list(told.spans))
    _check(data, told, question, schemas, cancellation)
    return GeneratedAnswer(
        data=bytearray(data),
        spans=spans,
        truncated=told.cut,
        prompt_tokens=told.prompt_tokens,
        chosen_tokens=told.tokens,
        answer_passes=told.tokens,
        generate_seconds=time.perf_counter() - started,
    )


def _check(
    data: bytes,
    told: RemoteAnswer,
    question: RemoteQuestion,
    schemas: SchemaGrammar,
    cancellation: Cancellation,
) -> None:
    """What follows the schema is closed as it is; what does not is closed otherwise."""
    try:
        closed = schemas.close(question.schema, data, cancellation)
    except SchemaError:
        closed = b""
    holds = closed.startswith(data[:-_LOOSE_BYTES]) if told.cut else closed == data
    if not holds:
        raise LibraryError(
            "remote-answer-invalid",
            "The server's answer does not follow the JSON Schema that it was sent.",
            hint="vLLM must be started with guided decoding (its default); proxies in between may "
            "drop response_format.",
        )
