"""How a running analysis tells where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["decode", "measure", "load", "encode", "prompt", "generate"]


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` steps of ``stage``; ``total`` 0 means not known."""

    stage: Stage
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class PageProgress:
    """Where the analysis of a document is: ``done`` of its ``total`` chosen pages, now ``page``."""

    page: int
    done: int
    total: int
    within: Progress


ProgressListener: TypeAlias = Callable[[Progress], None]
DocumentListener: TypeAlias = Callable[[PageProgress], None]


def ignore_progress(_progress: Progress | PageProgress) -> None:
    """For callers that show nothing."""
