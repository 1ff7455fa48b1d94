"""One run of ``shimmy vision``: source after source, result after result, failures in between."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
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
from shimmy_vision.cli.image_sources import ImageSource
from shimmy_vision.cli.supervise import Interrupts, supervise
from shimmy_vision.domain.answer.analysis_request import DocumentRequest
from shimmy_vision.domain.image.file_kind import PDF, recognise_file
from shimmy_vision.errors import OutputError, ShimmyError, StoppedError
from shimmy_vision.ports.cancellation import Cancellation

if TYPE_CHECKING:
    from shimmy_vision.cli.progress_bar import ProgressBar
    from shimmy_vision.ports.analyst import PageOutcome
    from shimmy_vision.ports.progress import PageProgress, PageWritten
    from shimmy_vision.wiring import Vision

Output: TypeAlias = Literal["json", "pretty", "jsonl"]


@dataclass(frozen=True, slots=True)
class SessionOrder:
    """What to ask and how to answer; an image has the request's ``analysis`` only.

    ``output`` None is one JSON document for one image and lines for anything else; ``timeout`` is
    in seconds, for each image and page.
    """

    request: DocumentRequest
    output: Output | None
    timeout: float | None
    max_image_bytes: int
    max_document_bytes: int


@dataclass(slots=True)
class _Source:
    """One source under way: where it is, and how its results are written."""

    name: str
    output: Output
    page: int | None = None
    switch: Cancellation = field(default_factory=Cancellation)


class AnalysisSession:
    """Analyses every source; one failure does not lose the others."""

    def __init__(self, vision: Vision, order: SessionOrder, interrupts: Interrupts) -> None:
        self._vision, self._order, self._interrupts = vision, order, interrupts
        self._failed: list[ShimmyError] = []
        self._done = 0

    def run(self, sources: Sequence[ImageSource]) -> int:
        """Results on standard output as they come; the exit code."""
        for number, source in enumerate(sources, 1):
            output = self._order.output or ("jsonl" if len(sources) > 1 else "json")
            current = _Source(source.name, output)
            try:
                self._one(source, current, f"{number}/{len(sources)} {source.name}")
            except OutputError:
                raise
            except ShimmyError as error:
                self._failure(current, error)
                if isinstance(error, StoppedError) and exit_code(error) == INTERRUPTED:
                    break
                if concerns_every_image(error):
                    return exit_code(error)
        return self._verdict()

    def _one(self, source: ImageSource, current: _Source, label: str) -> None:
        from shimmy_vision.cli.progress_bar import ProgressBar

        data = source.read(self._most_bytes)
        is_document = recognise_file(data) is PDF
        if is_document and self._order.output is None:
            current.output = "jsonl"
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

        def step(switch: Cancellation) -> PageOutcome | None:
            current.switch = switch
            return next(outcomes, None)

        # Not closed here: after a second Ctrl-C it may still be running on the other thread. It
        # closes the document when it ends or is collected.
        outcomes = self._vision.pages(data, self._order.request, lambda: current.switch, hear)
        while outcome := supervise(step, self._interrupts, timeout=self._order.timeout):
            current.page = outcome.page
            if outcome.error is not None:
                self._failure(current, outcome.error)
            elif outcome.result is not None:
                self._success(current, outcome.result)
            current.page = None

    def _success(self, current: _Source, result: dict[str, Any]) -> None:
        self._done += 1
        if current.output == "jsonl":
            write_json({**_place(current), "result": result}, pretty=False)
        else:
            write_json(result, pretty=current.output == "pretty")

    def _failure(self, current: _Source, error: ShimmyError) -> None:
        from shimmy_vision.cli.main import print_error

        self._failed.append(error)
        about = "" if concerns_every_image(error) else current.name
        if current.page is not None:
            about = f"{current.name}, page {current.page}"
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
