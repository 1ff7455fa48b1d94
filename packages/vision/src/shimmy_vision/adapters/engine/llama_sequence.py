"""One sequence of a shared context: the ``LanguageModel`` port."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.adapters.engine.bounded_lru import BoundedLru
from shimmy_vision.adapters.engine.compute_turns import ComputeTurns
from shimmy_vision.adapters.engine.engine_caches import KeptState
from shimmy_vision.adapters.engine.llama_context import LlamaContext
from shimmy_vision.adapters.engine.shared_decoding import DecodeOrder, SharedDecoding
from shimmy_vision.errors import LibraryError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EmbeddingRows


@dataclass(frozen=True, slots=True)
class SequenceParts:
    """What all sequences of one engine share."""

    context: LlamaContext
    decoding: SharedDecoding
    turns: ComputeTurns
    states: BoundedLru[KeptState]


class LlamaSequence:
    """Sequence ``number``, clean; for one thread at a time."""

    def __init__(self, parts: SequenceParts, number: int) -> None:
        self._parts, self._number = parts, number
        self._weights = parts.context.weights
        self._scores: NDArray[np.float32] | None = None
        self._position = self._passes = 0
        # What the sequence held before is forgotten with the next call that needs it anyway.
        self._fresh = True

    @property
    def number(self) -> int:
        return self._number

    @property
    def context_size(self) -> int:
        return self._parts.context.context_size

    @property
    def position(self) -> int:
        return self._position

    @property
    def forward_passes(self) -> int:
        return self._passes

    def reset(self) -> None:
        self._forget()
        self._passes = 0

    def tokenize(self, text: str, *, special: bool, first: bool = False) -> list[int]:
        return self._weights.tokenize(text, special=special, first=first)

    def token_bytes(self, token: int) -> bytes:
        return b"" if token in self._weights.control_tokens else self._weights.pieces[token]

    def is_end(self, token: int) -> bool:
        return token in self._weights.end_tokens

    def evaluate_tokens(self, tokens: list[int], cancellation: Cancellation) -> None:
        self._evaluate(np.asarray(tokens, dtype=np.int32), cancellation)

    def evaluate_rows(self, rows: EmbeddingRows, cancellation: Cancellation) -> None:
        width = rows.rows.shape[1]
        if width != self._weights.embedding_width:
            raise LibraryError(
                "embedding-width-mismatch",
                f"The image encoder produced rows of {width}, "
                f"the language model takes {self._weights.embedding_width}.",
            )
        self._evaluate(rows.rows, cancellation)

    def logits(self) -> NDArray[np.float32]:
        if self._scores is None:
            raise LibraryError("logits-missing", "llama.cpp kept no scores for the last token.")
        return self._scores

    def recall(self, key: str, cancellation: Cancellation) -> bool:
        kept = self._parts.states.find(key)
        if kept is None:
            return False
        self._forget()
        restored = self._parts.turns.errand(
            lambda: self._parts.context.restore(self._number, kept.data), cancellation
        )
        if restored:
            self._fresh, self._position = False, kept.positions
        return restored

    def remember(self, key: str, cancellation: Cancellation) -> None:
        states, context = self._parts.states, self._parts.context
        if self._position == 0 or not states.takes(0) or states.holds(key):
            return

        def snapshot() -> NDArray[np.uint8] | None:
            wanted = states.takes(context.state_bytes(self._number))
            return context.snapshot(self._number) if wanted else None

        data = self._parts.turns.errand(snapshot, cancellation)
        if data is not None:
            states.keep(key, KeptState(data, self._position), data.nbytes)

    def _evaluate(
        self, content: NDArray[np.int32] | NDArray[np.float32], cancellation: Cancellation
    ) -> None:
        if not len(content):
            return
        self._reserve(len(content))
        order = DecodeOrder(self._number, self._position, content, self._fresh)
        try:
            self._parts.decoding.decode(order, cancellation)
        except BaseException:
            self._forget()
            raise
        self._fresh = False
        self._position += len(content)
        self._passes += order.passes
        self._scores = order.scores

    def _forget(self) -> None:
        self._fresh, self._position, self._scores = True, 0, None

    def _reserve(self, count: int) -> None:
        """Refuse what does not fit: llama.cpp aborts the process on some overfull batches."""
        if self._position + count > self.context_size:
            raise LibraryError(
                "context-full",
                f"{self._position + count} positions do not fit the context of "
                f"{self.context_size}.",
                hint="Lower --max-tokens or use a shorter --prompt.",
            )
