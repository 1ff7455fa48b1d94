"""Analyses as the entry points order them, wherever they are done: here or in another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from shimmy_vision.domain.answer.analysis_request import AnalysisRequest, DocumentRequest, PageView
from shimmy_vision.errors import DeadlineError, ImageError
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Written

if TYPE_CHECKING:
    # Whoever only orders analyses need not import numpy for it.
    from shimmy_vision.ports.engine import EngineDescription


@dataclass(frozen=True, slots=True)
class ImageJob:
    """One image file.

    ``key``, in this and every job, names its pages where they are counted: a job that is done
    again under the same key counts none of them twice. Without one every page is a new one.
    """

    data: bytes = field(repr=False)
    request: AnalysisRequest
    key: str = ""


@dataclass(frozen=True, slots=True)
class DocumentJob:
    """One PDF; ``page_seconds`` bounds each page by itself.

    ``told`` are pages whose outcomes are known: they count as done and are left out.
    """

    data: bytes = field(repr=False)
    request: DocumentRequest
    page_seconds: float | None = None
    told: frozenset[int] = frozenset()
    key: str = ""


@dataclass(frozen=True, slots=True)
class UrlJob:
    """What is found at ``url``: an image, a PDF, or a web page, which is visited and seen as

    ``view`` says. ``request`` holds for whatever it is, its pages and dpi for a PDF only, as does
    ``told``. ``page_seconds`` bounds each page of a PDF, and all the rest together.
    """

    url: str = field(repr=False)
    request: DocumentRequest
    view: PageView
    page_seconds: float | None = None
    told: frozenset[int] = frozenset()
    key: str = ""


Job: TypeAlias = ImageJob | DocumentJob | UrlJob


@dataclass(frozen=True, slots=True)
class PageOutcome:
    """Page ``page``, counted from 1: its result, or the error that concerns it alone."""

    page: int
    result: dict[str, Any] | None
    error: ImageError | DeadlineError | None


@dataclass(frozen=True, slots=True)
class Restarted:
    """The job begins again, because the process that did it is gone.

    What was written since its last ``PageOutcome``, or its beginning, is void: answers are counted
    from 0 again. Outcomes stand, and none comes twice.
    """


JobEvent: TypeAlias = Progress | Written | PageProgress | PageWritten | PageOutcome | Restarted
JobListener: TypeAlias = Callable[[JobEvent], None]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """``model`` is what is in memory now, if anything; ``counters`` only ever grow.

    ``counters`` and ``gauges`` are named as the metrics are, without their prefix, like
    ``engine_starts`` and ``image_cache_bytes``.
    """

    running: bool
    model: EngineDescription | None
    counters: Mapping[str, float]
    gauges: Mapping[str, float]


class Analyst(Protocol):
    """Does several jobs at once; safe to call from any thread."""

    def analyse(
        self, job: Job, cancellation: Cancellation, listener: JobListener
    ) -> dict[str, Any] | None:
        """The result of an image or a web page; None for a document, whose pages ``listener`` was

        told of, each as a ``PageOutcome`` when it was done. ``listener`` is called on any thread,
        one call at a time; one that blocks holds its own job up, and may hold up others. Raises as
        ``analyze_image``, ``analyze_document`` and ``analyze_web_page`` do, and LibraryError
        engine-crashed, engine-resting or engine-closed.
        """
        ...

    def prepare(self, cancellation: Cancellation) -> None:
        """Load the model and run it once, so that the first job need not wait. Raises as

        ``analyse``; LicenceError too.
        """
        ...

    def status(self) -> EngineStatus:
        """How it is now; never waits for a job."""
        ...

    def close(self) -> None:
        """Stop what is under way and free everything. Safe to call twice."""
        ...
