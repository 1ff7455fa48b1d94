"""The language model as the decode loop sees it: tokens and rows in, logits out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.image_encoder import EmbeddingRows


class LanguageModel(Protocol):
    """One sequence, for one thread at a time.

    After an error or a cancellation it is clean, as after ``reset``.
    """

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
        """Shape (vocabulary,): scores after the last evaluated token, until the next call.

        Raises LibraryError when the last that was evaluated was no token.
        """
        ...

    def recall(self, key: str, cancellation: Cancellation) -> bool:
        """Continue from what was remembered under ``key``, if it is still there.

        False leaves the sequence as it was, or clean. There are no logits until the next call.
        """
        ...

    def remember(self, key: str, cancellation: Cancellation) -> None:
        """Keep the sequence as it is now under ``key``, which must name all that it depends on.

        What is too large is not kept.
        """
        ...

    @property
    def forward_passes(self) -> int:
        """Calls into the native decoder since ``reset`` that this sequence took part in."""
        ...
