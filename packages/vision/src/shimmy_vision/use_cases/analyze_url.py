"""What is found at a URL in, results out: an image, a document's pages, or a web page as one."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator
from dataclasses import dataclass
from typing import Any

from shimmy_vision.domain.answer.analysis_request import DocumentRequest, PageView
from shimmy_vision.domain.image.file_kind import PDF, recognise_file
from shimmy_vision.domain.web.viewport import check_viewport
from shimmy_vision.errors import DeadlineError, ImageError, LibraryError, ShimmyError, UsageError
from shimmy_vision.ports.analyst import JobListener, PageOutcome
from shimmy_vision.ports.cancellation import Cancellation
from shimmy_vision.ports.progress import Progress
from shimmy_vision.ports.web_fetch import FetchLimits
from shimmy_vision.use_cases.analyze_document import DocumentCollaborators, analyze_document
from shimmy_vision.use_cases.analyze_image import analyze_image
from shimmy_vision.use_cases.analyze_web_page import WebCollaborators, analyze_web_page
from shimmy_vision.use_cases.pass_gate import pass_gate

# What a plain fetch may fail at and a browser does not: pages for those who are not found, servers
# that answer browsers only, or slowly. Everything else it says is final, refusals above all.
_BROWSER_MAY_DO = frozenset(
    ("fetch-failed", "fetch-not-found", "fetch-redirects", "fetch-encoded", "fetch-timeout")
)
_NO_BROWSER = frozenset(("playwright-missing", "browser-missing"))


@dataclass(slots=True)
class _Fetched:
    """``data`` is the whole file where the bytes say that it is one of ours, else None.

    ``failure`` is what became of the fetch where a browser may do better.
    """

    data: bytes | None
    seconds: float
    failure: ShimmyError | None = None


def analyze_url(
    url: str,
    request: DocumentRequest,
    view: PageView,
    collaborators: WebCollaborators,
    switches: Callable[[], Cancellation],
    listener: JobListener,
    *,
    told: Collection[int] = (),
    key: str = "",
) -> Generator[dict[str, Any] | PageOutcome, None, None]:
    """Fetch ``url`` and analyse what its bytes are: the one result of an image or a web page, or

    the outcome of each page of a document when the next is asked for. ``switches`` gives the
    switch of what is about to begin: the fetch with the image or web page, then a document's
    opening and each of its pages, of which those in ``told`` were done before. ``key`` names what
    is counted, as in ``analyze_document`` and ``analyze_image``. Raises UsageError
    viewport-refused, and as ``WebFetch``, ``analyze_image``, ``analyze_document`` and
    ``analyze_web_page``; without a licence nothing is fetched.
    """
    refused = check_viewport(view.width, view.height, view.device_scale)
    if refused is not None:
        raise UsageError("viewport-refused", f"The page cannot be seen: {refused.reason}.")
    documents = collaborators.documents
    pass_gate(documents.analysis.licensing)
    switch = switches()
    switch.check()
    listener(Progress("fetch", 0, 0))
    fetched = _fetch(url, collaborators, switch)
    data, seconds = fetched.data, fetched.seconds
    if data is None:
        yield _see(url, request, view, collaborators, switch, listener, fetched, key)
    elif recognise_file(data) is PDF:
        yield from analyze_document(
            data, request, documents, switches, listener, told=told, fetched=seconds, key=key
        )
    else:
        yield analyze_image(
            data, request.analysis, documents.analysis, switch, listener, seconds, key=key
        )


def _fetch(url: str, collaborators: WebCollaborators, switch: Cancellation) -> _Fetched:
    documents, began = collaborators.documents, time.perf_counter()
    is_file = False

    def appetite(head: bytes) -> int:
        nonlocal is_file
        most = _most_bytes(head, documents)
        is_file = most > 0
        return most

    largest = max(documents.limits.max_bytes, documents.analysis.intake_limits.max_bytes)
    try:
        data = collaborators.fetch.fetch(url, FetchLimits(largest), switch, appetite)
    except (ImageError, DeadlineError) as error:
        if is_file or error.code not in _BROWSER_MAY_DO:
            raise
        return _Fetched(None, time.perf_counter() - began, error)
    is_file = _most_bytes(data, documents) > 0
    return _Fetched(data if is_file else None, time.perf_counter() - began)


def _most_bytes(head: bytes, documents: DocumentCollaborators) -> int:
    """0 for what is left to a browser."""
    kind = recognise_file(head)
    if kind is PDF:
        return documents.limits.max_bytes
    return documents.analysis.intake_limits.max_bytes if kind.pillow else 0


def _see(
    url: str,
    request: DocumentRequest,
    view: PageView,
    collaborators: WebCollaborators,
    switch: Cancellation,
    listener: JobListener,
    fetched: _Fetched,
    key: str,
) -> dict[str, Any]:
    try:
        return analyze_web_page(
            url, request.analysis, view, collaborators, switch, listener, fetched.seconds, key=key
        )
    except LibraryError as missing:
        # Without a browser nobody knows that it would have been a page.
        if fetched.failure is not None and missing.code in _NO_BROWSER:
            raise fetched.failure from missing
        raise
