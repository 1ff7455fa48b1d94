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


ProgressListener: TypeAlias = Callable[[Progress], None]


def ignore_progress(_progress: Progress) -> None:
    """For callers that show nothing."""
