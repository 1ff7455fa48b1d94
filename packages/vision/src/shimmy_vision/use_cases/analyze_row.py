"""One row of a batch, analysed as any image is; its own failure is its outcome."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from shimmy_vision.domain.answer.analysis_request import DocumentRequest
from shimmy_vision.domain.batch.batch_identity import BatchIdentity, page_key
from shimmy_vision.domain.batch.row_outcome import RowOutcome, is_of_one_row, row_error
from shimmy_vision.domain.image.file_kind import PDF, recognise_file
from shimmy_vision.errors import ShimmyError
from shimmy_vision.ports.analyst import Analyst, DocumentJob, ImageJob, JobEvent, PageOutcome
from shimmy_vision.ports.batch_rows import PendingRow
from shimmy_vision.ports.cancellation import Cancellation


@dataclass(frozen=True, slots=True)
class RowWork:
    """What every row is done with; ``seconds`` bounds an image, and each page of a PDF."""

    analyst: Analyst
    request: DocumentRequest
    identity: BatchIdentity
    seconds: float | None = None


def analyze_row(row: PendingRow, work: RowWork, cancellation: Cancellation) -> RowOutcome:
    """The row's outcome; under the batch's key its pages are counted once, however often it runs.

    Raises what concerns every row (LicenceError, ModelError, ...), and StoppedError.
    """
    sha256 = ""
    try:
        data = row.read()
        sha256 = hashlib.sha256(data).hexdigest()
        result = _result(data, page_key(work.identity, row.name, sha256), work, cancellation)
    except ShimmyError as error:
        # Who stopped the batch did not learn anything about the row.
        cancellation.check()
        if not is_of_one_row(error):
            raise
        return RowOutcome(row.name, sha256, None, row_error(error))
    return RowOutcome(row.name, sha256, result, None)


def _result(data: bytes, key: str, work: RowWork, cancellation: Cancellation) -> dict[str, Any]:
    if recognise_file(data) is not PDF:
        job = ImageJob(data, work.request.analysis, key)
        with _bounded(cancellation, work.seconds) as switch:
            found = work.analyst.analyse(job, switch, _ignore)
        return found or {}
    pages: list[dict[str, Any]] = []

    def hear(event: JobEvent) -> None:
        if isinstance(event, PageOutcome):
            pages.append(_page(event))

    document = DocumentJob(data, work.request, work.seconds, key=key)
    work.analyst.analyse(document, cancellation, hear)
    return {"pages": sorted(pages, key=lambda page: int(page["page"]))}


def _page(outcome: PageOutcome) -> dict[str, Any]:
    if outcome.error is None:
        return {"page": outcome.page, "result": outcome.result}
    told = row_error(outcome.error)
    error = {"code": told.code, "message": told.message, "hint": told.hint}
    return {"page": outcome.page, "error": error}


@contextmanager
def _bounded(batch: Cancellation, seconds: float | None) -> Iterator[Cancellation]:
    """A switch that is thrown with the batch's, and of itself after ``seconds``."""
    switch = Cancellation()
    with ExitStack() as ending:
        ending.enter_context(batch.when_cancelled(lambda: switch.cancel("interrupted")))
        if seconds is not None:
            timer = threading.Timer(seconds, switch.cancel, ("deadline",))
            timer.daemon = True
            timer.start()
            ending.callback(timer.cancel)
        yield switch


def _ignore(_event: JobEvent) -> None:
    """A row tells nothing until it is done."""
