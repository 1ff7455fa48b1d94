"""Whatever an entry point orders, done by the use case that does such things."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, assert_never

from shimmy_vision.errors import StoppedError
from shimmy_vision.ports.analyst import (
    DocumentJob,
    ImageJob,
    Job,
    JobListener,
    PageOutcome,
    UrlJob,
)
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import Progress
from shimmy_vision.use_cases.analyze_document import analyze_document
from shimmy_vision.use_cases.analyze_image import analyze_image
from shimmy_vision.use_cases.analyze_url import analyze_url
from shimmy_vision.use_cases.analyze_web_page import WebCollaborators


def run_job(
    job: Job, collaborators: WebCollaborators, cancellation: Cancellation, listener: JobListener
) -> dict[str, Any] | None:
    """The result of an image or a web page; None for a document, whose pages are told to

    ``listener``. Raises as ``analyze_image``, ``analyze_document`` and ``analyze_url`` do.
    """
    documents = collaborators.documents
    match job:
        case ImageJob(data, request, key):
            return analyze_image(data, request, documents.analysis, cancellation, listener, key=key)
        case DocumentJob(data, request, seconds, told, key):
            # Opening may take long too: whoever waits is told that it has begun.
            listener(Progress("decode", 0, 0))
            with _each_bounded(cancellation, seconds) as switches:
                found = analyze_document(
                    data, request, documents, switches, listener, told=told, key=key
                )
                return _pass_on(found, listener)
        case UrlJob(url, request, view, seconds, told, key):
            with _each_bounded(cancellation, seconds) as switches:
                found_there = analyze_url(
                    url, request, view, collaborators, switches, listener, told=told, key=key
                )
                return _pass_on(found_there, listener)
        case _:
            assert_never(job)


def _pass_on(
    found: Generator[dict[str, Any] | PageOutcome, None, None] | Generator[PageOutcome, None, None],
    listener: JobListener,
) -> dict[str, Any] | None:
    """Pages to the listener; the one result of anything else to the caller."""
    with closing(found):
        for one in found:
            if not isinstance(one, PageOutcome):
                return one
            listener(one)
    return None


@contextmanager
def _each_bounded(job: Cancellation, seconds: float | None) -> Iterator[Callable[[], Cancellation]]:
    """A fresh switch for each page about to begin; the one before is given up."""
    with ExitStack() as page:

        def next_switch() -> Cancellation:
            page.close()
            return page.enter_context(_bounded(job, seconds))

        yield next_switch


@contextmanager
def _bounded(job: Cancellation, seconds: float | None) -> Iterator[Cancellation]:
    """A switch that is thrown with ``job``'s, and of itself after ``seconds``."""
    switch = Cancellation()
    with ExitStack() as ending:
        # Never for the job's deadline: that would pass for the page's own, and the next begin.
        ending.enter_context(job.when_cancelled(lambda: switch.cancel("interrupted")))
        if seconds is not None:
            timer = threading.Timer(seconds, switch.cancel, ("deadline",))
            timer.daemon = True
            timer.start()
            ending.callback(timer.cancel)
        try:
            yield switch
        except StoppedError:
            # This switch only knows that the job was stopped; the job knows why.
            job.check()
            raise
