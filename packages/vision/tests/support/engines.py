"""One engine for many tests, and listeners that care for stages only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from shimmy_vision.adapters.engine.llama_engine import LlamaEngine
from shimmy_vision.domain.licence.access import Granted
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.engine import EngineDescription
from shimmy_vision.ports.progress import (
    DocumentListener,
    PageProgress,
    PageWritten,
    Progress,
    ProgressListener,
    Written,
)


class CountingEngines:
    """The ``EngineSource`` port over an engine that its fixture owns."""

    def __init__(self, engine: LlamaEngine) -> None:
        self.engine, self.opened = engine, 0

    @contextmanager
    def use(self, granted: Granted, cancellation: Cancellation) -> Iterator[LlamaEngine]:
        self.opened += 1
        yield self.engine

    def known(self) -> EngineDescription | None:
        return self.engine.description if self.opened else None

    def close(self) -> None:
        """The fixture owns the engine."""


def hear_stages(hear: Callable[[Progress], None]) -> ProgressListener:
    """A listener that leaves out what the model writes."""

    def listen(told: Progress | Written) -> None:
        if isinstance(told, Progress):
            hear(told)

    return listen


def hear_pages(hear: Callable[[PageProgress], None]) -> DocumentListener:
    """As ``hear_stages``, for documents."""

    def listen(told: PageProgress | PageWritten) -> None:
        if isinstance(told, PageProgress):
            hear(told)

    return listen
