"""One run of ``shimmy vision``: source after source, result after result, failures in between."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from shimmy_vision.cli.exit_codes import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    concerns_every_image,
    exit_code,
)
from shimmy_vision.cli.image_sources import Source, UrlSource
from shimmy_vision.cli.supervise import Interrupts, supervise
from shimmy_vision.domain.answer.analysis_request import DocumentRequest, PageView
from shimmy_vision.domain.image.file_kind import PDF, recognise_file
from shimmy_vision.errors import OutputError, ShimmyError, StoppedError
from shimmy_vision.ports.analyst import PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import PageProgress, PageWritten, Progress, Written

if TYPE_CHECKING:
    from shimmy_vision.cli.progress_bar import ProgressBar
    from shimmy_vision.cli.warm_server import WarmServer
    from shimmy_vision.ports.analyst import JobEvent
    from shimmy_vision.wiring.vision import Vision

Output: TypeAlias = Literal["json", "pretty", "jsonl"]


@dataclass(frozen=True, slots=True)
class SessionOrder:
    """What to ask and how to answer; an image has the request's ``analysis`` only, ``view`` is for

    web pages.
    ``output`` None is one JSON document for one image and lines for anything else; ``timeout`` is
    in seconds, for each image and page.
    """

    request: DocumentRequest
    view: PageView
    output: Output | None
    timeout: float | None
    max_image_bytes: int
    max_document_bytes: int


@dataclass(slots=True)
class _Source:
    """One source under way: where it is, and how its results are written.

    ``name`` stands in results, ``label`` in messages.
    """

    name: str
    label: str
    output: Output
    page: int | None = None
    switch: Cancellation = field(default_factory=Cancellation)


class AnalysisSession:
    """Analyses every source; one failure does not lose the others."""

    def __init__(
        self, vision: Vision | WarmServer, order: SessionOrder, interrupts: Interrupts
    ) -> None:
        self._vision, self._order, self._interrupts = vision, order, interrupts
        self._failed: list[ShimmyError] = []
        self._done = 0

    def run(self, sources: Sequence[Source]) -> int:
        """Results on standard output as they come; the exit code."""
        for number, source in enumerate(sources, 1):
            output = self._order.output or ("jsonl" if len(sources) > 1 else "json")
            current = _Source(source.name, source.label, output)
            try:
                self._one(source, current, f"{number}/{len(sources)} {source.label}")
            except OutputError:
                raise
            except ShimmyError as error:
                self._failure(current, error)
                if isinstance(error, StoppedError) and exit_code(error) == INTERRUPTED:
                    break
                if concerns_every_image(error):
                    return exit_code(error)
        return self._verdict()

    def _one(self, source: Source, current: _Source, label: str) -> None:
        from shimmy_vision.cli.progress_bar import ProgressBar

        if isinstance(source, UrlSource):
            with closing(ProgressBar(label)) as bar:
                self._url(source.url, current, bar)
            return
        data = source.read(self._most_bytes)
        is_document = recognise_file(data) is PDF
        with closing(ProgressBar(label)) as bar:
            if is_document:
                self._document(data, current, bar)
            else:
                self._image(data, current, bar)

    def _most_bytes(self, head: bytes) -> int:
        is_document = recognise_file(head) is PDF
        return self._order.max_document_bytes if is_document else self._order.max_image_bytes

    def _image(self, data: bytes, current: _Source, bar: ProgressBar) -> None:
        result = supervise(
            lambda switch: self._vision(data, self._order.request.analysis, switch, bar.show),
            self._interrupts,
            timeout=self._order.timeout,
        )
        self._success(current, result)

    def _document(self, data: bytes, current: _Source, bar: ProgressBar) -> None:
        """Page by page, each with a switch and a deadline of its own."""

        def hear(progress: PageProgress | PageWritten) -> None:
            current.page = progress.page
            bar.show_page(progress)

        self._use_lines(current)
        request, switches = self._order.request, lambda: current.switch
        self._take(self._vision.pages(data, request, switches, hear), current)

    def _url(self, url: str, current: _Source, bar: ProgressBar) -> None:
        """Whatever is there; the pages of a document each with a deadline of its own."""

        def hear(event: JobEvent) -> None:
            if isinstance(event, (PageProgress, PageWritten)):
                current.page = event.page
                bar.show_page(event)
            elif isinstance(event, (Progress, Written)):
                bar.show(event)

        order, switches = self._order, lambda: current.switch
        outcomes = self._vision.at_url(url, order.request, order.view, switches, hear)
        self._take(outcomes, current)

    def _take(self, outcomes: Iterator[dict[str, Any] | PageOutcome], current: _Source) -> None:
        """What comes, as it comes, each with a switch and a deadline of its own."""

        def step(switch: Cancellation) -> dict[str, Any] | PageOutcome | None:
            current.switch = switch
            return next(outcomes, None)

        # Not closed here: after a second Ctrl-C it may still be running on the other thread. It
        # closes the document when it ends or is collected.
        while outcome := supervise(step, self._interrupts, timeout=self._order.timeout):
            if isinstance(outcome, dict):
                self._success(current, outcome)
                continue
            self._use_lines(current)
            current.page = outcome.page
            if outcome.error is not None:
                self._failure(current, outcome.error)
            elif outcome.result is not None:
                self._success(current, outcome.result)
            current.page = None

    def _use_lines(self, current: _Source) -> None:
        """For documents, unless the user wants it otherwise."""
        if self._order.output is None:
            current.output = "jsonl"

    def _success(self, current: _Source, result: dict[str, Any]) -> None:
        self._done += 1
        if current.output == "jsonl":
            write_json({**_place(current), "result": result}, pretty=False)
        else:
            write_json(result, pretty=current.output == "pretty")

    def _failure(self, current: _Source, error: ShimmyError) -> None:
        from shimmy_vision.cli.main import print_error

        self._failed.append(error)
        about = "" if concerns_every_image(error) else current.label
        if current.page is not None:
            about = f"{current.label}, page {current.page}"
        print_error(error, about=about)
        if current.output == "jsonl":
            fields = {"code": error.code, "message": error.message, "hint": error.hint}
            write_json({**_place(current), "error": fields}, pretty=False)

    def _verdict(self) -> int:
        if not self._failed:
            return OK
        codes = {exit_code(error) for error in self._failed}
        if INTERRUPTED in codes:
            return INTERRUPTED
        return codes.pop() if len(self._failed) + self._done == 1 else SOME_FAILED


def _place(current: _Source) -> dict[str, Any]:
    page = {} if current.page is None else {"page": current.page}
    return {"image": current.name, **page}


def write_json(value: dict[str, Any], *, pretty: bool) -> None:
    """One JSON document and a newline on standard output. Raises OutputError, BrokenPipeError."""
    text = (
        json.dumps(value, ensure_ascii=False, indent=2)
        if pretty
        else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    )
    try:
        sys.stdout.buffer.write(text.encode() + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            "output-not-written",
            f"The result could not be written: {error.strerror or error}",
            hint="Free disk space or write elsewhere.",
        ) from error
