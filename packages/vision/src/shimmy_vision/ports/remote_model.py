"""A model that another machine runs: it takes pixels and turns, and gives the answer's text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from shimmy_vision.domain.answer.analysis_request import ChatTurn
from shimmy_vision.domain.answer.answer_reading import Span
from shimmy_vision.domain.image.pixels import RgbPixels
from shimmy_vision.ports.cancellation import Cancellation


@dataclass(frozen=True, slots=True)
class RemoteQuestion:
    """One answer to ``turns``, one of which has the image, under ``schema``.

    ``temperature`` 0 takes the best token each time.
    """

    turns: tuple[ChatTurn, ...]
    pixels: RgbPixels = field(repr=False)
    schema: dict[str, Any]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int | None


@dataclass(frozen=True, slots=True)
class RemoteAnswer:
    """``data`` is what was written, as it came; ``cut`` where it met its bound.

    ``spans`` are empty where the server tells no probabilities.
    """

    data: bytes = field(repr=False)
    spans: tuple[Span, ...]
    cut: bool
    prompt_tokens: int
    tokens: int


class RemoteModel(Protocol):
    """For several questions at once, from any thread."""

    def ask(
        self, question: RemoteQuestion, cancellation: Cancellation, hear: Callable[[int], None]
    ) -> RemoteAnswer:
        """``hear`` is told how many tokens there are; from 1 again where a try was repeated.

        Raises LibraryError, or StoppedError within a moment of cancellation.
        """
        ...

    def close(self) -> None:
        """Let go of connections. Safe to call twice."""
        ...
