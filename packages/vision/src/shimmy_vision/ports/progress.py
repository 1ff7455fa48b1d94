"""How a running analysis tells where it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["fetch", "decode", "measure", "load", "encode", "prompt", "generate"]


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


@dataclass(frozen=True, slots=True)
class Written:
    """``text`` is what the model wrote since the last report, of its answer number ``answer``

    (counted from 0 in each image or page); all of them together are that answer as it was written.
    """

    answer: int
    text: str


@dataclass(frozen=True, slots=True)
class PageWritten:
    """``within`` was written about page ``page`` of a document."""

    page: int
    within: Written


ProgressListener: TypeAlias = Callable[[Progress | Written], None]
DocumentListener: TypeAlias = Callable[[PageProgress | PageWritten], None]


def ignore_progress(_progress: Progress | Written | PageProgress | PageWritten) -> None:
    """For callers that show nothing."""
