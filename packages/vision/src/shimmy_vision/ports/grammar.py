"""Constrained generation: which tokens may come next under a JSON Schema."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.ports.cancellation import Cancellation

JsonSchema: TypeAlias = dict[str, Any]


class AnswerGrammar(Protocol):
    """The state of one answer under one schema."""

    def allowed(self) -> NDArray[np.bool_]:
        """Shape (vocabulary,): True where a token may come next."""
        ...

    def forced_tokens(self) -> list[int]:
        """Tokens the schema dictates from here, so that no forward pass need choose them."""
        ...

    def consume(self, tokens: list[int]) -> None:
        """Advance. Raises OutputError if a token is not allowed.

        As ``allowed`` and ``forced_tokens`` do, it also raises where the grammar gives up.
        """
        ...

    def is_finished(self) -> bool:
        """Whether the answer is complete and nothing more may follow."""
        ...


class GrammarCompiler(Protocol):
    """Turns a schema into the state of a fresh answer."""

    def compile(self, schema: JsonSchema) -> AnswerGrammar:
        """Raises SchemaError naming the feature that is not supported."""
        ...


class SchemaGrammar(Protocol):
    """What can be said of a schema without any model."""

    def check(self, schema: JsonSchema, cancellation: Cancellation) -> None:
        """Raises SchemaError naming what is not supported or proven to be unsatisfiable.

        Raises StoppedError when cancelled.
        """
        ...

    def close(self, schema: JsonSchema, prefix: bytes, cancellation: Cancellation) -> bytes:
        """``prefix`` (a beginning of an answer under ``schema``) made whole, in bounded time.

        Raises SchemaError where no ending was found, StoppedError when cancelled.
        """
        ...
