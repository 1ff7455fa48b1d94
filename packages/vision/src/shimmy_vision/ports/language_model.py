"""The language model as the decode loop sees it: tokens and rows in, logits out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EmbeddingRows


class LanguageModel(Protocol):
    """One sequence at a time; not thread-safe."""

    @property
    def context_size(self) -> int:
        """Positions one sequence may hold."""
        ...

    @property
    def position(self) -> int:
        """Positions used since ``reset``."""
        ...

    def reset(self) -> None:
        """Forget the sequence."""
        ...

    def tokenize(self, text: str, *, special: bool, first: bool = False) -> list[int]:
        """Token ids. ``special`` lets ``<|im_start|>`` and its kin be control tokens;

        ``first`` adds the opening token of vocabularies that have one.
        """
        ...

    def token_bytes(self, token: int) -> bytes:
        """The bytes a token adds to the text; empty for control tokens."""
        ...

    def is_end(self, token: int) -> bool:
        """Whether the token ends the answer."""
        ...

    def evaluate_tokens(self, tokens: list[int], cancellation: Cancellation) -> None:
        """One forward pass per batch of tokens; logits of the last one are kept."""
        ...

    def evaluate_rows(self, rows: EmbeddingRows, cancellation: Cancellation) -> None:
        """Feed one encoded slice."""
        ...

    def logits(self) -> NDArray[np.float32]:
        """Shape (vocabulary,): scores after the last evaluated token. A view: copy to keep."""
        ...

    @property
    def forward_passes(self) -> int:
        """Calls into the native decoder since ``reset``."""
        ...
